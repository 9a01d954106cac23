// Runs inside the query process: CSV, read strictly. Every value is text until it is known what all values of its column
// are; a guess that looks at some lines would take a broken file for another shape of file.
import type { DuckDBConnection } from '@duckdb/node-api';
import { DomainError } from '#core/errors.ts';
import { quoteName, quoteText, readRows } from './sandbox.ts';

const delimiters = [',', '\t', ';', '|'];
/** Stands for "no delimiter" where a whole line is read as one value. */
const noDelimiter = '\u001f';

export interface Csv {
  names: string[];
  /** A relation of text columns; empty values are null. */
  relation: string;
}

/** UTF-8 with a header line; the delimiter is the one of , ; | and tab that the header uses. */
export async function openCsv(connection: DuckDBConnection, file: string, compression: string | null): Promise<Csv> {
  const common = `${quoteText(file)}, auto_detect = false, comment = '', compression = '${compression ?? 'none'}'`;
  const lines = `read_csv(${common}, header = false, delim = '${noDelimiter}', quote = '', escape = '', columns = {'line': 'VARCHAR'})`;
  const [first] = await readRows<{ line: string | null }>(connection, `SELECT line FROM ${lines} LIMIT 1`);
  const header = first?.line ?? '';
  if (header === '') throw invalid('The file is empty. Expected a header line and rows.');
  const delimiter = delimiterOf(header);
  const names = splitHeader(header, delimiter);
  if (names.every((name) => name.trim() !== '' && Number.isFinite(Number(name)))) {
    throw invalid(`The first line holds only numbers (${header.slice(0, 80)}). Expected the columns' names there.`);
  }
  const columns = names.map((name) => `${quoteText(name)}: 'VARCHAR'`).join(', ');
  const format = `header = true, delim = ${quoteText(delimiter)}, quote = '"', escape = '"', strict_mode = true`;
  return { names, relation: `read_csv(${common}, ${format}, columns = {${columns}})` };
}

function delimiterOf(header: string): string {
  const unquoted = header.replaceAll(/"(?:[^"]|"")*"/g, '');
  const counts = delimiters.map((delimiter) => unquoted.split(delimiter).length);
  return delimiters[counts.indexOf(Math.max(...counts))] ?? ',';
}

function splitHeader(header: string, delimiter: string): string[] {
  const names: string[] = [];
  let quoted = false;
  let name = '';
  for (const part of header.split(/("")|(")/).filter((piece) => piece !== undefined)) {
    if (part === '"') quoted = !quoted;
    else if (part === '""') name += quoted ? '"' : '';
    else if (quoted) name += part;
    else {
      const [first = '', ...others] = part.split(delimiter);
      name += first;
      for (const other of others) {
        names.push(name);
        name = other;
      }
    }
  }
  if (quoted) throw invalid('The header line has an opening quote without a closing one.');
  return [...names, name];
}

/** What text can be, from the narrowest on. Leading zeros and numbers too long to be exact stay text. */
const inferred: Array<{ type: string; pattern: string }> = [
  { type: 'BIGINT', pattern: '[+-]?(0|[1-9]\\d{0,18})' },
  { type: 'DOUBLE', pattern: '[+-]?((0|[1-9]\\d{0,14})?(\\.\\d*)?([eE][+-]?\\d+)?|(?i)(inf|infinity|nan))' },
  { type: 'BOOLEAN', pattern: '(?i)true|false' },
  { type: 'DATE', pattern: '\\d{4}-\\d{2}-\\d{2}' },
  { type: 'TIMESTAMP', pattern: '\\d{4}-\\d{2}-\\d{2}([ T]\\d{2}:\\d{2}(:\\d{2}(\\.\\d+)?)?)?' },
  {
    type: 'TIMESTAMP WITH TIME ZONE',
    pattern: '\\d{4}-\\d{2}-\\d{2}[ T]\\d{2}:\\d{2}(:\\d{2}(\\.\\d+)?)?(Z|[+-]\\d{2}(:?\\d{2})?)',
  },
];

/** The narrowest type that every value of each column is; VARCHAR when there is none, or no value. */
export async function inferTypes(
  connection: DuckDBConnection,
  relation: string,
  names: readonly string[],
): Promise<Map<string, string>> {
  const types = new Map<string, string>();
  // Column by column: the header may have thousands, and six questions about each are one query too large.
  for (const name of names) {
    const value = `trim(${quoteName(name)})`;
    const checks = inferred.map(
      ({ type, pattern }, index) =>
        `bool_and(regexp_full_match(${value}, '${pattern}') AND TRY_CAST(${value} AS ${type}) IS NOT NULL) AS c${index}`,
    );
    const [row] = await readRows<Record<string, boolean | null>>(
      connection,
      `SELECT ${checks.join(', ')} FROM ${relation} WHERE ${quoteName(name)} IS NOT NULL`,
    );
    types.set(name, inferred.find((_, index) => row?.[`c${index}`] === true)?.type ?? 'VARCHAR');
  }
  return types;
}

/** As SQL: whether a text is a value of the type, without losing anything. */
export function textIs(value: string, type: string): string {
  if (type === 'VARCHAR') return 'true';
  if (/INT(EGER)?$/.test(type)) {
    return `(regexp_full_match(trim(${value}), '[+-]?\\d+') AND TRY_CAST(${value} AS ${type}) IS NOT NULL)`;
  }
  if (type.startsWith('DECIMAL')) {
    return `(TRY_CAST(TRY_CAST(${value} AS ${type}) AS DOUBLE) IS NOT DISTINCT FROM TRY_CAST(${value} AS DOUBLE) AND TRY_CAST(${value} AS ${type}) IS NOT NULL)`;
  }
  if (type === 'BOOLEAN') return `lower(trim(${value})) IN ('true', 'false')`;
  if (/^(FLOAT|DOUBLE|DATE|TIME|TIMESTAMP.*|UUID)$/.test(type)) return `TRY_CAST(${value} AS ${type}) IS NOT NULL`;
  return 'false';
}

function invalid(message: string): DomainError {
  return new DomainError('invalid-request', message);
}
