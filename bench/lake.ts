// From a query to a stored snapshot, against DuckDB alone writing the same rows in the same order to the same format.
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { DuckDBInstance } from '@duckdb/node-api';
import { connect } from '#db/connect.ts';
import { appendSegment } from '#lake/append.ts';
import { createLakeEngine } from '#lake/engine/engine.ts';
import type { Lake } from '#lake/lake.ts';
import { materialise } from '#lake/query.ts';
import { cacheSegments } from '#lake/segment-cache.ts';
import { segmentsAsOf } from '#db/lake.ts';
import { createDiskStore } from '#storage/disk.ts';
import { type Comparison, interleave, printComparisons, printMachine, timeMs, withTemporaryDir } from './report.ts';
import { withPostgres } from './postgres.ts';

const sizes = (process.env['BENCH_LAKE_ROWS'] ?? '1000000,10000000').split(',').map(Number);
const rounds = Number(process.env['BENCH_LAKE_ROUNDS'] ?? 5);
const threads = 2;
const memoryMib = 4096;
const columns = 6;

/** What the table holds: a key, a time, a category, an amount, a customer and a flag. */
function generated(rows: number): string {
  return `SELECT i::BIGINT AS id, TIMESTAMP '2024-01-01' + INTERVAL (i) SECOND AS ts, (hash(i) % 1000)::INTEGER AS store,
    (hash(i + 1) % 100000) / 100.0 AS amount, 'user_' || (hash(i + 2) % 50000) AS customer, hash(i + 3) % 3 = 0 AS flag
    FROM range(${rows}) r(i)`;
}

async function duckdb() {
  const instance = await DuckDBInstance.create(':memory:', { threads: `${threads}`, memory_limit: `${memoryMib}MiB` });
  return instance.connect();
}

async function fill(lake: Lake, dir: string, rows: number): Promise<string> {
  const file = join(dir, `rows-${rows}.parquet`);
  await (await duckdb()).run(`COPY (${generated(rows)}) TO '${file}' (FORMAT parquet)`);
  const table = `rows_${rows}`;
  await appendSegment(lake, { table, source: { file }, format: 'parquet', by: 'bench' });
  return table;
}

/** The same COPY in this process: no child, no hash, no profile, no row in Postgres. */
async function alone(lake: Lake, dir: string, table: string, select: string, order: string): Promise<number> {
  const segments = await segmentsAsOf(lake.db, [table], '2999-01-01');
  const files = await cacheSegments(
    lake.store,
    lake.engine.cacheDir,
    segments.map(({ sha256 }) => sha256),
  );
  const connection = await duckdb();
  await connection.run(
    `CREATE VIEW ${table} AS SELECT * FROM read_parquet(['${files.join("','")}'], union_by_name = true)`,
  );
  const out = join(dir, 'alone.parquet');
  const spent = await timeMs(() =>
    connection.run(`COPY (${select} ${order}) TO '${out}' (FORMAT parquet, COMPRESSION zstd)`),
  );
  connection.closeSync();
  return spent;
}

async function compare(lake: Lake, dir: string, rows: number): Promise<Comparison[]> {
  const table = await fill(lake, dir, rows);
  const everyColumn = Array.from({ length: columns }, (_, index) => index + 1).join(', ');
  const where = (turn: number) => `SELECT * FROM ${table} WHERE amount > ${100 + turn / 1000}`;
  const ours = (turn: number, order: string) =>
    timeMs(() => materialise(lake, { query: `${where(turn)} ${order}`, asOf: null }));
  const seen = await interleave(rounds, {
    sameUnordered: (turn) => alone(lake, dir, table, where(turn), `ORDER BY ${everyColumn}`),
    oursUnordered: (turn) => ours(turn, ''),
    sameOrdered: (turn) => alone(lake, dir, table, where(turn), `ORDER BY id, ${everyColumn}`),
    asWritten: (turn) => alone(lake, dir, table, where(turn), 'ORDER BY id'),
    oursOrdered: (turn) => ours(turn, 'ORDER BY id'),
    again: () => ours(0, 'ORDER BY id'),
  });
  const what = `${rows / 1e6} M rows`;
  const row = (name: string, value: number, against: { name: string; value: number }, aim?: string): Comparison => ({
    what: `${what}, ${name}`,
    ours: value,
    unit: 'ms',
    against,
    ...(aim === undefined ? {} : { aim }),
  });
  return [
    row('no ORDER BY', seen.oursUnordered, { name: 'COPY in the same order', value: seen.sameUnordered }, '≤ 1.10'),
    row('ORDER BY id', seen.oursOrdered, { name: 'COPY in the same order', value: seen.sameOrdered }, '≤ 1.10'),
    row('ORDER BY id', seen.oursOrdered, { name: 'COPY as written', value: seen.asWritten }),
    { what: `${what}, asked again`, ours: seen.again, unit: 'ms' },
  ];
}

async function small(lake: Lake): Promise<Comparison[]> {
  const source = Readable.from(['id,x\n1,2\n']);
  await appendSegment(lake, { table: 'small', source, format: 'csv', by: 'bench' });
  const seen = await interleave(10, {
    fresh: (turn) => timeMs(() => materialise(lake, { query: `SELECT * FROM small WHERE id > ${turn}`, asOf: null })),
  });
  return [{ what: 'a query over one row, with its process', ours: seen.fresh, unit: 'ms' }];
}

await withTemporaryDir(async (dir) => {
  printMachine();
  await withPostgres(dir, (url) => measure(dir, url));
});

async function measure(dir: string, databaseUrl: string): Promise<void> {
  const connection = connect(databaseUrl);
  const engine = createLakeEngine({ cacheDir: join(dir, 'cache'), threads, memoryMib });
  const lake: Lake = { db: connection.db, store: await createDiskStore({ root: join(dir, 'blobs') }), engine };
  try {
    for (const rows of sizes) printComparisons(`query to snapshot, ${threads} threads`, await compare(lake, dir, rows));
    printComparisons('the smallest query', await small(lake));
  } finally {
    await engine.close();
    await connection.close();
  }
}
