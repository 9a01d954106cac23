// Runs inside the query process: a file somebody gave us becomes one canonical Parquet segment. What its columns hold
// must fit the table; a type that changed is refused with the column, what was found and what was expected.
import { open } from 'node:fs/promises';
import type { DuckDBConnection } from '@duckdb/node-api';
import { DomainError, type ErrorDetail } from '#core/errors.ts';
import { type LakeColumn, canHold, canonicalType } from '#lake/column-types.ts';
import { inferTypes, openCsv, textIs } from './csv.ts';
import { parquetOptions } from './materialise.ts';
import type { Operations, SandboxLimits } from './operations.ts';
import { describe, openSandbox, quoteName, quoteText, readRows } from './sandbox.ts';

const columnsMax = 2000;
const nameBytesMax = 255;
/** How many rows decide what the columns of a new CSV are taken for, before all rows are held against that. */
const inferenceRows = 20_000;

type Ingest = Operations['ingest'];

export async function ingest(limits: SandboxLimits, args: Ingest['args']): Promise<Ingest['answer']> {
  const connection = await openSandbox(limits, [args.file]);
  const source = await (args.format === 'csv'
    ? csvSource(connection, args)
    : typedSource(connection, args, args.format));
  await refuseDrift(source, args);
  const columns = source.columns.map(
    ({ name, type, target }) => `CAST(${quoteName(name)} AS ${type}) AS ${quoteName(target)}`,
  );
  const written = await connection.runAndReadAll(
    `COPY (SELECT ${columns.join(', ')} FROM ${source.relation}) TO ${quoteText(args.out)} (${parquetOptions})`,
  );
  const [stats] = written.getRowObjectsJson() as unknown as [{ count: string }];
  const rows = Number(stats.count);
  if (rows === 0) throw invalid(`The file has no rows, so there is nothing to append to ${args.table}.`);
  return { rows, columns: await describe(connection, `read_parquet(${quoteText(args.out)})`) };
}

/** A file that can be read, and how each of its columns becomes one of the table. */
interface Source {
  relation: string;
  columns: Matched[];
  /** Values that their column can not hold. */
  misfits(): Promise<Misfit[]>;
}

interface Matched {
  name: string;
  /** The table's spelling of the name. */
  target: string;
  /** What the column will hold. */
  type: string;
  isNew: boolean;
}

interface Misfit {
  column: Matched;
  found: string;
  example: string | null;
}

async function csvSource(connection: DuckDBConnection, { file, expected }: Ingest['args']): Promise<Source> {
  const { names, relation } = await openCsv(connection, file, await compressionOf(file));
  checkNames(names);
  const known = byName(expected);
  const newNames = names.filter((name) => !known.has(name.toLowerCase()));
  const first = `(SELECT * FROM ${relation} LIMIT ${inferenceRows})`;
  const inferred = await inferTypes(connection, first, newNames);
  const match = (name: string) => matched(name, known, inferred.get(name) ?? 'VARCHAR');
  const failing = await misfitsOfText(connection, relation, names.map(match));
  // Later rows may show that a new column is wider than its first rows were.
  const widened = await inferTypes(
    connection,
    relation,
    failing.filter(({ isNew }) => isNew).map(({ name }) => name),
  );
  for (const [name, type] of widened) inferred.set(name, type);
  return {
    relation,
    columns: names.map(match),
    misfits: () =>
      describeMisfits(
        connection,
        relation,
        failing.filter(({ isNew }) => !isNew),
      ),
  };
}

async function misfitsOfText(connection: DuckDBConnection, relation: string, columns: Matched[]): Promise<Matched[]> {
  const checks = columns.map(
    ({ name, type }, index) =>
      `bool_and(${textIs(quoteName(name), type)}) FILTER (${quoteName(name)} IS NOT NULL) AS c${index}`,
  );
  const [row] = await readRows<Record<string, boolean | null>>(
    connection,
    `SELECT ${checks.join(', ')} FROM ${relation}`,
  );
  return columns.filter((_, index) => row?.[`c${index}`] === false);
}

async function describeMisfits(connection: DuckDBConnection, relation: string, columns: Matched[]): Promise<Misfit[]> {
  const found = await inferTypes(
    connection,
    relation,
    columns.map(({ name }) => name),
  );
  return Promise.all(
    columns.map(async (column) => {
      const value = quoteName(column.name);
      const [row] = await readRows<{ example: string }>(
        connection,
        `SELECT ${value} AS example FROM ${relation} WHERE ${value} IS NOT NULL AND NOT ${textIs(value, column.type)} LIMIT 1`,
      );
      return { column, found: found.get(column.name) ?? 'VARCHAR', example: row?.example ?? null };
    }),
  );
}

async function typedSource(
  connection: DuckDBConnection,
  { file, expected }: Ingest['args'],
  format: 'jsonl' | 'parquet',
): Promise<Source> {
  const read = format === 'parquet' ? parquet(file) : await jsonLines(file);
  const found = await describe(connection, read(new Map()));
  checkNames(found.map(({ name }) => name));
  if (format === 'jsonl') await refuseRenamedKeys(connection, read, found);
  const known = byName(expected);
  const columns = found.map(({ name, type }) => matched(name, known, canonicalType(type)));
  return {
    // JSON's texts that look like times are read again as what the table has.
    relation: read(new Map(columns.map(({ name, type }) => [name, type]))),
    columns,
    misfits: () => misfitsOfTypes(connection, read(new Map()), format, columns, found),
  };
}

/** A reader of the file as SQL, optionally told its columns' types. */
type Reader = (types: ReadonlyMap<string, string>) => string;

function parquet(file: string): Reader {
  return () => `read_parquet(${quoteText(file)}, hive_partitioning = false)`;
}

async function jsonLines(file: string): Promise<Reader> {
  const compression = (await compressionOf(file)) ?? 'uncompressed';
  const common = `${quoteText(file)}, format = 'newline_delimited', records = 'true', hive_partitioning = false`;
  return (types) => {
    const struct = [...types].map(([name, type]) => `${quoteText(name)}: ${quoteText(type)}`).join(', ');
    const typed = types.size === 0 ? 'sample_size = -1' : `columns = {${struct}}`;
    return `read_json(${common}, compression = '${compression}', ${typed})`;
  };
}

/** By the first bytes, because an upload has no name. */
export async function compressionOf(file: string): Promise<'gzip' | 'zstd' | null> {
  const handle = await open(file, 'r');
  try {
    const { buffer } = await handle.read(Buffer.alloc(4), 0, 4, 0);
    if (buffer.readUInt16BE(0) === 0x1f8b) return 'gzip';
    return buffer.readUInt32LE(0) === 0xfd2fb528 ? 'zstd' : null;
  } finally {
    await handle.close();
  }
}

/** DuckDB renames a key that differs from another by capitals only, and then does not find its values again. */
async function refuseRenamedKeys(connection: DuckDBConnection, read: Reader, found: LakeColumn[]): Promise<void> {
  const names = new Set(found.map(({ name }) => name.toLowerCase()));
  const types = new Map(found.map(({ name, type }) => [name, type]));
  for (const { name } of found) {
    const original = name.replace(/_\d+$/, '');
    if (original === name || !names.has(original.toLowerCase())) continue;
    const count = (relation: string) => countValues(connection, relation, name);
    if ((await count(read(new Map()))) === (await count(read(types)))) continue;
    throw invalid(`Two keys are called "${original}", capitals aside. Rename one of them.`);
  }
}

async function countValues(connection: DuckDBConnection, relation: string, name: string): Promise<number> {
  const [row] = await readRows<{ n: string }>(connection, `SELECT count(${quoteName(name)}) AS n FROM ${relation}`);
  return Number(row?.n ?? 0);
}

async function misfitsOfTypes(
  connection: DuckDBConnection,
  relation: string,
  format: 'jsonl' | 'parquet',
  columns: readonly Matched[],
  found: readonly LakeColumn[],
): Promise<Misfit[]> {
  const misfits: Misfit[] = [];
  for (const [index, column] of columns.entries()) {
    const type = found[index]?.type ?? column.type;
    const comparison = column.isNew ? 'fits' : canHold(format, type, column.type);
    if (comparison === 'fits') continue;
    const value = quoteName(column.name);
    const survives = `TRY_CAST(TRY_CAST(${value} AS ${column.type}) AS ${type}) IS NOT DISTINCT FROM ${value}`;
    const fits = comparison === 'if-every-value-survives' ? survives : 'false';
    const [row] = await readRows<{ example: string | null }>(
      connection,
      `SELECT ${value}::VARCHAR AS example FROM ${relation} WHERE ${value} IS NOT NULL AND NOT (${fits}) LIMIT 1`,
    );
    if (row !== undefined) misfits.push({ column, found: type, example: row.example });
  }
  return misfits;
}

/** Every column that does not fit is named at once. */
async function refuseDrift(source: Source, { table }: Ingest['args']): Promise<void> {
  const details: ErrorDetail[] = (await source.misfits()).map(({ column, found, example }) => ({
    path: column.target,
    message: `column "${column.target}" is ${found} in the file, for example ${JSON.stringify(example?.slice(0, 80))}; the table has ${column.type}`,
  }));
  if (details.length === 0) return;
  throw new DomainError(
    'schema-drift',
    `The file does not fit table ${table}: ${details.map(({ message }) => message).join('; ')}. Nothing was appended; convert the column, or append to another table.`,
    details,
  );
}

function byName(expected: readonly LakeColumn[] | null): Map<string, LakeColumn> {
  return new Map((expected ?? []).map((column) => [column.name.toLowerCase(), column]));
}

function matched(name: string, known: ReadonlyMap<string, LakeColumn>, newType: string): Matched {
  const column = known.get(name.toLowerCase());
  return column === undefined
    ? { name, target: name, type: newType, isNew: true }
    : { name, target: column.name, type: column.type, isNew: false };
}

function checkNames(names: readonly string[]): void {
  if (names.length > columnsMax)
    throw invalid(`The file has ${names.length} columns; a table takes up to ${columnsMax}.`);
  const seen = new Set<string>();
  for (const name of names) {
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

function invalid(message: string): DomainError {
  return new DomainError('invalid-request', message);
}
