// Which names and links may become files of a source tree. Pure rules, used when a tree is inspected and when it is
// written to disk.

const componentBytesMax = 255;
const depthMax = 128;

/** Why a path must not be written, in words that follow the path, or null when it is fine. */
export function pathRefusal(path: string): string | null {
  if (path === '' || path.includes('\0')) return 'is empty or contains a NUL character';
  if (path.startsWith('/')) return 'is absolute';
  const components = path.split('/');
  if (components.length > depthMax) return `is nested more than ${depthMax} folders deep`;
  if (components.some((part) => part === '' || part === '.' || part === '..')) return "has an empty, '.' or '..' part";
  if (components.some((part) => part.toLowerCase() === '.git'))
    return "has a '.git' part, which git itself would act on";
  if (components.some((part) => Buffer.byteLength(part) > componentBytesMax)) {
    return `has a name of more than ${componentBytesMax} bytes`;
  }
  return null;
}

/**
 * Why a symbolic link must not be written, or null. `..` may only come first: after a name that is itself a link, it
 * would not lead where it seems to.
 */
export function linkRefusal(path: string, target: string): string | null {
  if (target === '' || target.includes('\0')) return 'has an empty target or one with a NUL character';
  if (target.startsWith('/')) return `points to the absolute path ${target}, which other machines do not have`;
  const parts = target.split('/').filter((part) => part !== '' && part !== '.');
  const firstName = parts.findIndex((part) => part !== '..');
  const ups = firstName < 0 ? parts.length : firstName;
  if (ups > path.split('/').length - 1) return `points to ${target}, which is outside the repository`;
  if (parts.slice(ups).includes('..')) return `points to ${target}, where '..' follows a name`;
  if (parts.some((part) => part.toLowerCase() === '.git')) return "points into '.git', which a run does not have";
  return null;
}
