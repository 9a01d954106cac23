// Runs inside the query process: a file somebody gave us becomes one canonical Parquet segment. What its columns hold
// must fit the table; a type that changed is refused with the column, what was found and what was expected.
import type { DuckDBConnection } from '@duckdb/node-api';
import { open } from 'node:fs/promises';
import { DomainError, type ErrorDetail } from '#core/errors.ts';
import { type Comparison, type LakeColumn, canHold, canonicalType } from '#lake/column-types.ts';
import { parquetOptions } from './materialise.ts';
import type { Operations, SandboxLimits } from './operations.ts';
import { describe, openSandbox, quoteName, quoteText, readRows } from './sandbox.ts';

const columnsMax = 2000;
const nameBytesMax = 255;

type Ingest = Operations['ingest'];

export async function ingest(limits: SandboxLimits, args: Ingest['args']): Promise<Ingest['answer']> {
  const connection = await openSandbox(limits, [args.file]);
  const source = await sourceOf(args);
  const found = await describe(connection, source(new Map()));
  checkNames(found);
  const matched = match(found, args.expected ?? []);
  await checkFits(connection, source(new Map()), args, matched);
  const types = new Map(matched.map((column) => [column.found.name, column.type]));
  const columns = matched.map(
    ({ found: { name }, type, target }) => `CAST(${quoteName(name)} AS ${type}) AS ${quoteName(target)}`,
  );
  const written = await connection.runAndReadAll(
    `COPY (SELECT ${columns.join(', ')} FROM ${source(types)}) TO ${quoteText(args.out)} (${parquetOptions})`,
  );
  const [stats] = written.getRowObjectsJson() as unknown as [{ count: string }];
  const rows = Number(stats.count);
  if (rows === 0) throw invalid(`The file has no rows, so there is nothing to append to ${args.table}.`);
  return { rows, columns: await describe(connection, `read_parquet(${quoteText(args.out)})`) };
}

/** A reader over the file, as SQL. Text formats can be told types, so that 007 stays text where the table has text. */
async function sourceOf({ file, format }: Ingest['args']): Promise<(types: ReadonlyMap<string, string>) => string> {
  const compression = format === 'parquet' ? null : await compressionOf(file);
  return (types) => {
    const struct = `{${[...types].map(([name, type]) => `${quoteText(name)}: ${quoteText(type)}`).join(', ')}}`;
    if (format === 'parquet') return `read_parquet(${quoteText(file)}, hive_partitioning = false)`;
    const plain = format === 'csv' ? 'none' : 'uncompressed';
    const common = `${quoteText(file)}, compression = '${compression ?? plain}'`;
    const typed = types.size === 0 ? 'sample_size = -1' : `${format === 'csv' ? 'types' : 'columns'} = ${struct}`;
    return format === 'csv'
      ? `read_csv(${common}, header = true, hive_partitioning = false, ${typed})`
      : `read_json(${common}, format = 'newline_delimited', records = 'true', hive_partitioning = false, ${typed})`;
  };
}

/** By the first bytes, because an upload has no name. */
async function compressionOf(file: string): Promise<'gzip' | 'zstd' | null> {
  const handle = await open(file, 'r');
  try {
    const { buffer } = await handle.read(Buffer.alloc(4), 0, 4, 0);
    if (buffer.readUInt16BE(0) === 0x1f8b) return 'gzip';
    return buffer.readUInt32LE(0) === 0xfd2fb528 ? 'zstd' : null;
  } finally {
    await handle.close();
  }
}

function checkNames(found: readonly LakeColumn[]): void {
  if (found.length > columnsMax)
    throw invalid(`The file has ${found.length} columns; a table takes up to ${columnsMax}.`);
  const seen = new Set<string>();
  for (const { name } of found) {
    const key = name.toLowerCase();
    if (name.trim() === '' || Buffer.byteLength(name) > nameBytesMax || /\p{Cc}/u.test(name)) {
      throw invalid(
        `"${name.slice(0, 80)}" can not be a column's name. Use 1 to ${nameBytesMax} bytes without control characters.`,
      );
    }
    if (seen.has(key)) throw invalid(`Two columns are called "${name}", capitals aside. Rename one of them.`);
    seen.add(key);
  }
}

interface Matched {
  found: LakeColumn;
  /** The table's spelling of the name. */
  target: string;
  type: string;
  isNew: boolean;
}

function match(found: readonly LakeColumn[], expected: readonly LakeColumn[]): Matched[] {
  const known = new Map(expected.map((column) => [column.name.toLowerCase(), column]));
  return found.map((column) => {
    const match = known.get(column.name.toLowerCase());
    return match === undefined
      ? { found: column, target: column.name, type: canonicalType(column.type), isNew: true }
      : { found: column, target: match.name, type: match.type, isNew: false };
  });
}

/** Every column that does not fit is named at once. */
async function checkFits(
  connection: DuckDBConnection,
  source: string,
  { format, table }: Ingest['args'],
  matched: readonly Matched[],
): Promise<void> {
  const details: ErrorDetail[] = [];
  for (const column of matched.filter(({ isNew, found, type }) => !isNew && found.type !== type)) {
    const comparison = canHold(format, column.found.type, column.type);
    const found = await misfit(connection, source, column, comparison);
    if (found === null) continue;
    const example = found === '' ? '' : `, for example ${JSON.stringify(found)}`;
    details.push({
      path: column.target,
      message: `column "${column.target}" is ${column.found.type} in the file${example}; the table has ${column.type}`,
    });
  }
  if (details.length === 0) return;
  throw new DomainError(
    'schema-drift',
    `The file does not fit table ${table}: ${details.map(({ message }) => message).join('; ')}. Nothing was appended; convert the column, or append to another table.`,
    details,
  );
}

/** A value that does not fit, '' when none can be shown, null when all fit. A column without values fits every type. */
async function misfit(
  connection: DuckDBConnection,
  source: string,
  { found, type }: Matched,
  comparison: Comparison,
): Promise<string | null> {
  if (comparison === 'fits') return null;
  const value = quoteName(found.name);
  const survives = `TRY_CAST(TRY_CAST(${value} AS ${type}) AS ${found.type}) IS NOT DISTINCT FROM ${value}`;
  const fits = comparison === 'if-every-value-survives' ? survives : 'false';
  const [row] = await readRows<{ misfits: string; example: string | null }>(
    connection,
    `SELECT count(*) FILTER (${value} IS NOT NULL AND NOT (${fits})) AS misfits,
       first(${value}::VARCHAR) FILTER (${value} IS NOT NULL AND TRY_CAST(${value}::VARCHAR AS ${type}) IS NULL) AS example
     FROM ${source}`,
  );
  return Number(row?.misfits ?? 0) === 0 ? null : (row?.example ?? '').slice(0, 80);
}

function invalid(message: string): DomainError {
  return new DomainError('invalid-request', message);
}
