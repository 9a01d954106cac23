// Names people give to tables and datasets, and paths inside datasets.
import { DomainError } from '#core/errors.ts';

const tablePattern = /^[a-z_][a-z0-9_]{0,62}$/;
const datasetPattern = /^[a-z0-9][a-z0-9._-]{0,99}$/;
const pathBytesMax = 1024;

/** Lower case only, because SQL does not tell capitals apart. */
export function requireTableName(name: string): string {
  if (tablePattern.test(name)) return name;
  throw invalid(
    `"${name.slice(0, 80)}" can not be a table's name. Use up to 63 lower-case letters, digits and underscores, beginning with a letter.`,
  );
}

export function requireDatasetName(name: string): string {
  if (datasetPattern.test(name)) return name;
  throw invalid(
    `"${name.slice(0, 80)}" can not be a dataset's name. Use up to 100 lower-case letters, digits, dots, dashes and underscores, beginning with a letter or digit.`,
  );
}

/** A path that stays below the directory it is joined to, on every system: relative, with /, without . and .. parts. */
export function requireFilePath(path: string): string {
  const parts = path.split('/');
  const bad =
    path === '' || Buffer.byteLength(path) > pathBytesMax
      ? `is empty or longer than ${pathBytesMax} bytes`
      : parts.some((part) => part === '' || part === '.' || part === '..')
        ? 'has an empty, "." or ".." part'
        : /[\p{Cc}\\]/u.test(path) || !path.isWellFormed()
          ? 'has a backslash or control character'
          : parts.some((part) => Buffer.byteLength(part) > 255)
            ? 'has a part longer than 255 bytes'
            : null;
  if (bad === null) return path;
  throw invalid(
    `The path ${JSON.stringify(path.slice(0, 80))} ${bad}. Use a relative path inside the folder, such as images/cat.png.`,
  );
}

function invalid(message: string): DomainError {
  return new DomainError('invalid-request', message);
}
