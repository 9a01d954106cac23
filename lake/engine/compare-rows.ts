// Runs inside the query process: what differs between the rows of two files, matched by a key column or by their order.
import type { DuckDBConnection } from '@duckdb/node-api';
import { DomainError } from '#core/errors.ts';
import { openCsv } from './csv.ts';
import { compressionOf } from './ingest.ts';
import type { Operations, RowsDifference, RowsFile, SandboxLimits } from './operations.ts';
import { describe, openSandbox, quoteName, quoteText, readRows } from './sandbox.ts';

/** Each column is a question of its own; a file with more is no table that a person reads a difference of. */
const columnsMax = 1000;
const valueLengthMax = 80;
/** Columns shown of one row. */
const valuesMax = 4;

type Compare = Operations['compareRows'];

interface Side {
  relation: string;
  types: Map<string, string>;
}

/** A column that both files have. */
interface Common {
  name: string;
  typeBefore: string;
  typeAfter: string;
  /** SQL of its value on either side, comparable with each other. */
  before: string;
  after: string;
}

export async function compareRows(limits: SandboxLimits, args: Compare['args']): Promise<RowsDifference> {
  const connection = await openSandbox(limits, [args.before.file, args.after.file]);
  const before = await openSide(connection, args.before);
  const after = await openSide(connection, args.after);
  if (args.key !== null) requireKey(args.key, before, after);
  const columns = commonColumns(before, after);
  const keyRepeats = args.key !== null && (await repeats(connection, [before, after], args.key));
  const joined = join(before, after, args.key, keyRepeats);
  const counts = await countDifferences(connection, joined, columns);
  const differing = differingColumns(before, after, columns, counts);
  const total = counts.added + counts.removed + counts.changed;
  return {
    ...counts.rows,
    added: counts.added,
    removed: counts.removed,
    changed: counts.changed,
    sameInAnotherOrder: total > 0 && (await isReordered(connection, before, after)),
    keyRepeats,
    columns: differing,
    examples: total === 0 ? [] : await findExamples(connection, joined, columns, args),
  };
}

async function openSide(connection: DuckDBConnection, { file, format }: RowsFile): Promise<Side> {
  const relation = await relationOf(connection, file, format);
  const found = await describe(connection, relation);
  if (found.length > columnsMax)
    throw invalid(`The file has ${found.length} columns; rows of up to ${columnsMax} columns are compared.`);
  return { relation, types: new Map(found.map(({ name, type }) => [name, type])) };
}

/** CSV values are compared as the texts they are, JSON values as JSON: no guess at types comes between. */
async function relationOf(connection: DuckDBConnection, file: string, format: RowsFile['format']): Promise<string> {
  if (format === 'parquet') return `read_parquet(${quoteText(file)}, hive_partitioning = false)`;
  const compression = await compressionOf(file);
  if (format === 'csv') return (await openCsv(connection, file, compression)).relation;
  return `read_json(${quoteText(file)}, format = 'newline_delimited', records = 'true', hive_partitioning = false,
    compression = '${compression ?? 'uncompressed'}', maximum_depth = 1, sample_size = -1)`;
}

function requireKey(key: string, before: Side, after: Side): void {
  const [side] = [before, after].filter(({ types }) => !types.has(key));
  if (side === undefined) return;
  const names = [...side.types.keys()].slice(0, 20).join(', ');
  throw invalid(`The file has no column "${key}", by which rows are to be matched. It has ${names}.`);
}

function commonColumns(before: Side, after: Side): Common[] {
  return [...before.types].flatMap(([name, typeBefore]) => {
    const typeAfter = after.types.get(name);
    if (typeAfter === undefined) return [];
    const cast = typeBefore === typeAfter ? '' : '::VARCHAR';
    const column = quoteName(name);
    return [{ name, typeBefore, typeAfter, before: `b.t.${column}${cast}`, after: `a.t.${column}${cast}` }];
  });
}

async function repeats(connection: DuckDBConnection, sides: readonly Side[], key: string): Promise<boolean> {
  for (const { relation } of sides) {
    const value = quoteName(key);
    const [row] = await readRows(connection, `SELECT 1 FROM ${relation} GROUP BY ${value} HAVING count(*) > 1 LIMIT 1`);
    if (row !== undefined) return true;
  }
  return false;
}

/** Each side has its row as the struct `t`, so that no name of ours meets one of the file's. */
function join(before: Side, after: Side, key: string | null, keyRepeats: boolean): string {
  const side = ({ relation, types }: Side) => {
    const row = [...types.keys()].map((name) => `${quoteText(name)}: ${quoteName(name)}`).join(', ');
    const numbered = `SELECT row_number() OVER () AS n, {${row}} AS t FROM ${relation}`;
    if (key === null) return `(SELECT n, t, n AS k, 1 AS o FROM (${numbered}))`;
    const value = `t.${quoteName(key)}${before.types.get(key) === after.types.get(key) ? '' : '::VARCHAR'}`;
    const occurrence = keyRepeats ? `row_number() OVER (PARTITION BY ${value} ORDER BY n)` : '1';
    return `(SELECT n, t, ${value} AS k, ${occurrence} AS o FROM (${numbered}))`;
  };
  return `${side(before)} AS b FULL OUTER JOIN ${side(after)} AS a ON b.k IS NOT DISTINCT FROM a.k AND b.o = a.o`;
}

const inBoth = 'b.n IS NOT NULL AND a.n IS NOT NULL';

function differing(columns: readonly Common[]): string {
  if (columns.length === 0) return 'false';
  return columns.map(({ before, after }) => `${before} IS DISTINCT FROM ${after}`).join(' OR ');
}

interface Counts {
  rows: { rowsBefore: number; rowsAfter: number };
  added: number;
  removed: number;
  changed: number;
  /** By the column's place. */
  ofColumn: Array<{ changed: number; largest: number | null }>;
}

async function countDifferences(
  connection: DuckDBConnection,
  joined: string,
  columns: readonly Common[],
): Promise<Counts> {
  const perColumn = columns.flatMap((column, i) => [
    `count(*) FILTER (${inBoth} AND ${column.before} IS DISTINCT FROM ${column.after}) AS c${i}`,
    `${isNumber(column) ? `max(abs(${column.after}::DOUBLE - ${column.before}::DOUBLE)) FILTER (isfinite(${column.after}::DOUBLE) AND isfinite(${column.before}::DOUBLE))` : 'NULL'} AS d${i}`,
  ]);
  const [row] = await readRows<Record<string, string | number | null>>(
    connection,
    `SELECT count(b.n) AS before, count(a.n) AS after, count(*) FILTER (b.n IS NULL) AS added,
      count(*) FILTER (a.n IS NULL) AS removed, count(*) FILTER (${inBoth} AND (${differing(columns)})) AS changed
      ${perColumn.map((sql) => `, ${sql}`).join('')} FROM ${joined}`,
  );
  const number = (name: string) => Number(row?.[name] ?? 0);
  return {
    rows: { rowsBefore: number('before'), rowsAfter: number('after') },
    added: number('added'),
    removed: number('removed'),
    changed: number('changed'),
    ofColumn: columns.map((_, i) => {
      const largest = row?.[`d${i}`] ?? null;
      return { changed: number(`c${i}`), largest: largest === null ? null : Number(largest) };
    }),
  };
}

function isNumber({ typeBefore, typeAfter }: Common): boolean {
  return (
    typeBefore === typeAfter && /^(?:U?(?:TINY|SMALL|BIG|HUGE)INT|U?INTEGER|FLOAT|DOUBLE|DECIMAL.*)$/.test(typeBefore)
  );
}

function differingColumns(
  before: Side,
  after: Side,
  columns: readonly Common[],
  counts: Counts,
): RowsDifference['columns'] {
  const only = (side: Side, other: Side) => [...side.types].filter(([name]) => !other.types.has(name));
  const both = columns.map(({ name, typeBefore, typeAfter }, i) => ({
    name,
    typeBefore,
    typeAfter,
    ...(counts.ofColumn[i] ?? { changed: 0, largest: null }),
  }));
  const missing = { changed: 0, largest: null };
  return [
    ...only(before, after).map(([name, type]) => ({ name, typeBefore: type, typeAfter: null, ...missing })),
    ...only(after, before).map(([name, type]) => ({ name, typeBefore: null, typeAfter: type, ...missing })),
    ...both.filter((column) => column.changed > 0 || column.typeBefore !== column.typeAfter),
  ];
}

/** By a sum of hashes over all rows, as in a snapshot's digest. */
async function isReordered(connection: DuckDBConnection, before: Side, after: Side): Promise<boolean> {
  if (JSON.stringify([...before.types]) !== JSON.stringify([...after.types])) return false;
  const columns = [...before.types.keys()].map(quoteName).join(', ');
  const sums = [before, after].map(
    ({ relation }) => `(SELECT sum(hash(${columns}))::VARCHAR || '-' || count(*) FROM ${relation})`,
  );
  const [row] = await readRows<{ same: boolean }>(connection, `SELECT ${sums.join(' = ')} AS same`);
  return row?.same === true;
}

async function findExamples(
  connection: DuckDBConnection,
  joined: string,
  columns: readonly Common[],
  { key, examplesMax }: Compare['args'],
): Promise<RowsDifference['examples']> {
  const text = (value: string) => `left(${value}::VARCHAR, ${valueLengthMax})`;
  const differences = columns.map(
    ({ name, before, after }) =>
      `CASE WHEN ${inBoth} AND ${before} IS DISTINCT FROM ${after}
        THEN {'column': ${quoteText(name)}, 'before': ${text(before)}, 'after': ${text(after)}} END`,
  );
  const values =
    differences.length === 0
      ? `'[]'`
      : `to_json(list_filter([${differences.join(', ')}], lambda v: v IS NOT NULL)[1:${valuesMax}])`;
  const rows = await readRows<{
    what: 'changed' | 'added' | 'removed';
    row: string;
    key: string | null;
    values: string;
  }>(
    connection,
    `SELECT CASE WHEN b.n IS NULL THEN 'added' WHEN a.n IS NULL THEN 'removed' ELSE 'changed' END AS what,
      coalesce(b.n, a.n) AS row, ${key === null ? 'NULL' : text('coalesce(b.k, a.k)')} AS key, ${values}::VARCHAR AS values
      FROM ${joined} WHERE b.n IS NULL OR a.n IS NULL OR ${differing(columns)}
      ORDER BY b.n IS NULL OR a.n IS NULL, row LIMIT ${Math.trunc(examplesMax)}`,
  );
  return rows.map(({ what, row, key: found, values: list }) => ({
    what,
    row: Number(row),
    key: found,
    values: JSON.parse(list) as RowsDifference['examples'][number]['values'],
  }));
}

function invalid(message: string): DomainError {
  return new DomainError('invalid-request', message);
}
