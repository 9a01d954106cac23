// Runs inside the query process: a guarded query over pinned files becomes one Parquet file in one order.
import {
  BIGINT,
  BOOLEAN,
  DOUBLE,
  type DuckDBConnection,
  DuckDBTimestampTZValue,
  type DuckDBType,
  type DuckDBValue,
  TIMESTAMPTZ,
  VARCHAR,
} from '@duckdb/node-api';
import type { LakeColumn } from '#lake/column-types.ts';
import { parseQuery } from './inspect.ts';
import type { Operations, ParameterValue, SandboxLimits } from './operations.ts';
import { orderTotally } from './order.ts';
import { profile } from './profile.ts';
import { describe, openSandbox, quoteName, quoteText, readRows, textList } from './sandbox.ts';

/** The same bytes on every machine: nothing here depends on how many threads it has. */
export const parquetOptions = 'FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 122880, RETURN_STATS';

type Materialise = Operations['materialise'];

/** `facts` come from `inspect` of the same query: nothing runs that was not guarded. */
export async function materialise(
  limits: SandboxLimits,
  facts: Operations['inspect']['answer'],
  args: Materialise['args'],
): Promise<Materialise['answer']> {
  const files = args.tables.flatMap((table) => table.files);
  const connection = await openSandbox(limits, files, (unlocked) => createViews(unlocked, args.tables));
  const bound = bind(facts.parameters, args);
  const ordered = await orderedSql(connection, args.query, facts.canonical, bound);
  const sequential = facts.sequential || !ordered.total;
  const worker = sequential ? await sequentialConnection(limits, files, args.tables) : connection;
  const written = await worker.runAndReadAll(
    `COPY (${ordered.sql}) TO ${quoteText(args.out)} (${parquetOptions})`,
    bound.values,
    bound.types,
  );
  const [stats] = written.getRowObjectsJson() as unknown as [{ count: string; column_statistics: ColumnStatistics }];
  const result = `read_parquet(${quoteText(args.out)})`;
  const columns = await describe(connection, result);
  const rows = Number(stats.count);
  return {
    rows,
    columns,
    unorderedDigest: await unorderedDigest(connection, result, columns),
    profile: await profile(connection, result, { rows, columns, statistics: stats.column_statistics }),
  };
}

/** On one thread, which keeps the order of the file. */
export async function rewrite(
  limits: SandboxLimits,
  { file, out }: Operations['rewrite']['args'],
): Promise<Operations['rewrite']['answer']> {
  const connection = await openSandbox({ ...limits, threads: 1 }, [file]);
  await connection.run(
    `COPY (SELECT * FROM read_parquet(${quoteText(file)}, hive_partitioning = false)) TO ${quoteText(out)} (${parquetOptions})`,
  );
  const result = `read_parquet(${quoteText(out)})`;
  const unordered = await unorderedDigest(connection, result, await describe(connection, result));
  return { rows: Number.parseInt(unordered.split('-')[1] ?? '0', 16), unorderedDigest: unordered };
}

export type ColumnStatistics = Array<{ key: string; value: Array<{ key: string; value: string }> }>;

async function createViews(connection: DuckDBConnection, tables: Materialise['args']['tables']): Promise<void> {
  for (const { name, files } of tables) {
    await connection.run(
      `CREATE VIEW ${quoteName(name)} AS SELECT * FROM read_parquet(${textList(files)}, union_by_name = true, hive_partitioning = false)`,
    );
  }
}

/** The number of threads is part of the locked configuration, so fewer threads mean another instance. */
function sequentialConnection(limits: SandboxLimits, files: string[], tables: Materialise['args']['tables']) {
  return openSandbox({ ...limits, threads: 1 }, files, (unlocked) => createViews(unlocked, tables));
}

interface Bound {
  values: Record<string, DuckDBValue>;
  types: Record<string, DuckDBType>;
}

function bind(names: readonly string[], { asOf, parameters }: Materialise['args']): Bound {
  const bound: Bound = { values: {}, types: {} };
  for (const name of names) {
    const [value, type] = name === 'as_of' ? asOfValue(asOf) : parameterValue(parameters[name] ?? null);
    bound.values[name] = value;
    bound.types[name] = type;
  }
  return bound;
}

function asOfValue(asOf: string): [DuckDBValue, DuckDBType] {
  const [, seconds, fraction = ''] = /^(.*?)(?:\.(\d+))?Z$/.exec(asOf) ?? [];
  const micros = BigInt(Date.parse(`${seconds}Z`)) * 1000n + BigInt(fraction.padEnd(6, '0').slice(0, 6));
  return [new DuckDBTimestampTZValue(micros), TIMESTAMPTZ];
}

function parameterValue(value: ParameterValue): [DuckDBValue, DuckDBType] {
  if (typeof value === 'boolean') return [value, BOOLEAN];
  if (typeof value === 'number') return Number.isSafeInteger(value) ? [BigInt(value), BIGINT] : [value, DOUBLE];
  return [value, VARCHAR];
}

/**
 * The query with a total order. `total` is false for the rare query that DuckDB can not spell back from its own tree:
 * it then runs as it was written, with its own order only.
 */
async function orderedSql(
  connection: DuckDBConnection,
  query: string,
  canonical: string,
  bound: Bound,
): Promise<{ sql: string; total: boolean }> {
  const shape = await shapeOf(connection, canonical, bound);
  const tree = await parseQuery(connection, query);
  orderTotally(tree, shape.length);
  const [row] = await readRows<{ sql: string }>(
    connection,
    `SELECT json_deserialize_sql(${quoteText(JSON.stringify(tree))}::JSON) AS sql`,
  );
  const sql = row?.sql ?? canonical;
  const same = await shapeOf(connection, sql, bound).then(
    (found) => JSON.stringify(found) === JSON.stringify(shape),
    () => false,
  );
  return same ? { sql, total: true } : { sql: canonical, total: false };
}

async function shapeOf(connection: DuckDBConnection, sql: string, bound: Bound): Promise<string[]> {
  const result = await connection.run(`SELECT * FROM (${sql}) LIMIT 0`, bound.values, bound.types);
  const types = result.columnTypes();
  return result.columnNames().map((name, index) => `${name} ${String(types[index])}`);
}

/**
 * The sum over all rows of a 64-bit hash of the row, and their number: equal for the same rows in any order, however
 * often each occurs. The hash is the engine's own, so digests compare only between equal engine versions.
 */
async function unorderedDigest(
  connection: DuckDBConnection,
  result: string,
  columns: readonly LakeColumn[],
): Promise<string> {
  const values = columns.map(({ name }) => quoteName(name)).join(', ');
  const [row] = await readRows<{ sum: string | null; rows: string }>(
    connection,
    `SELECT sum(hash(${values}))::VARCHAR AS sum, count(*)::VARCHAR AS rows FROM ${result}`,
  );
  return `${BigInt(row?.sum ?? 0)
    .toString(16)
    .padStart(32, '0')}-${BigInt(row?.rows ?? 0).toString(16)}`;
}
