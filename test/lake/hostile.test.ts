// Queries as an enemy or an unlucky colleague writes them. Each is refused with a reason, or harmless.
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EngineSession } from '#lake/engine/engine.ts';
import { openSandbox } from '#lake/engine/sandbox.ts';
import { materialise, planSnapshot } from '#lake/query.ts';
import { type TestLake, createTestLake, scratchFile } from './lake.ts';

let lake: TestLake;
let secret: string;
let inspecting: EngineSession;
let stopInspecting: () => void;

beforeAll(async () => {
  lake = await createTestLake();
  const stopped = new Promise<void>((resolve) => {
    stopInspecting = resolve;
  });
  await new Promise<void>((ready) => {
    void lake.engine.work((session) => {
      inspecting = session;
      ready();
      return stopped;
    });
  });
  await lake.append('orders', 'csv', 'id,amount\n1,1.5\n2,2.5\n');
  secret = await scratchFile(lake, 'secret.csv', 'key\nvalue\n');
});
afterAll(() => lake?.remove());

const run = (query: string) => materialise(lake, { query, asOf: null });

/** Judged by a query process that serves the whole file; what is refused there never reaches data. */
async function expectRefused(query: string, message: RegExp): Promise<void> {
  const outcome = await inspecting.call('inspect', { query }).then(
    (facts) => `accepted, reads ${facts.tables.join(', ')}`,
    (error: { code?: string; message: string }) => `${error.code} ${error.message}`,
  );
  expect(outcome, query).toMatch(message);
  expect(outcome, query).toMatch(/^query-refused /);
}

describe('statements', () => {
  it.each([
    ['', /is empty/],
    ['   -- nothing\n', /is empty/],
    ['SELECT 1; SELECT 2', /Found 2 statements/],
    ['SELECT * FROM orders; DROP VIEW orders', /Only SELECT/],
    ["SELECT 1 /* ' */; DELETE FROM orders --'", /Only SELECT/],
    ['INSERT INTO orders VALUES (1, 2)', /Only SELECT/],
    ['UPDATE orders SET id = 1', /Only SELECT/],
    ['DELETE FROM orders', /Only SELECT/],
    ['TRUNCATE orders', /Only SELECT/],
    ['CREATE TABLE x AS SELECT * FROM orders', /Only SELECT/],
    ['WITH gone AS (DELETE FROM orders RETURNING *) SELECT * FROM gone', /parsed|Only SELECT/],
    ['SELECT * INTO stolen FROM orders', /SELECT INTO/],
    ['SELECT * FROM orders FOR UPDATE', /locking/],
    ["COPY orders TO '/tmp/stolen.csv'", /Only SELECT/],
    ["COPY orders FROM '/etc/passwd'", /Only SELECT/],
    ["ATTACH '/etc/passwd' AS other", /Only SELECT/],
    ['INSTALL httpfs', /Only SELECT/],
    ["LOAD '/tmp/evil.duckdb_extension'", /Only SELECT/],
    ['SET enable_external_access = true', /Only SELECT/],
    ['RESET lock_configuration', /Only SELECT/],
    ['PRAGMA database_list', /Only SELECT/],
    ['CALL pragma_version()', /Only SELECT/],
    ["EXPORT DATABASE '/tmp/stolen'", /Only SELECT/],
    ['CHECKPOINT', /Only SELECT/],
    ['EXPLAIN ANALYZE SELECT 1', /Only SELECT/],
    ['PREPARE p AS SELECT 1', /Only SELECT/],
    ['CREATE SECRET (TYPE s3)', /Only SELECT/],
    ['BEGIN', /Only SELECT/],
    ['SHOW TABLES', /SHOW/],
    ['DESCRIBE orders', /DESCRIBE/],
    ['SUMMARIZE orders', /SUMMARIZE/],
    ['SELECT * FROM (DESCRIBE orders)', /DESCRIBE/],
    ['SELECT FROM WHERE', /can not be parsed/],
    ['SELECT \0', /NUL/],
    ['SELECT 1e999', /out of range/],
    ['SELECT ?', /have names/],
    ['SELECT $1', /have names/],
  ])('%j', expectRefused);

  it('nested deeper than any person would write end at worst their own process', async () => {
    const query = `SELECT ${'abs('.repeat(50_000)}1${')'.repeat(50_000)}`;
    await expect(run(query)).rejects.toMatchObject({ code: expect.stringMatching(/^query-/) as string });
    expect(await run('SELECT 41 + 1 AS n')).toMatchObject({ rows: 1 });
  });
});

describe('reading what is not the lake', () => {
  it.each([
    "SELECT * FROM read_csv('SECRET')",
    "SELECT * FROM READ_CSV_AUTO('SECRET')",
    "SELECT * FROM 'SECRET'",
    'SELECT * FROM "SECRET"',
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_blob('/etc/passwd')",
    "SELECT * FROM read_parquet('*.parquet')",
    "SELECT * FROM parquet_metadata('x.parquet')",
    "SELECT * FROM parquet_scan(['SECRET'])",
    "SELECT * FROM read_json('https://example.com/x.json')",
    "SELECT * FROM 'https://example.com/x.parquet'",
    "SELECT * FROM 's3://bucket/x.parquet'",
    "SELECT * FROM glob('/*')",
    "SELECT * FROM sniff_csv('SECRET')",
    "SELECT * FROM query('SELECT 1')",
    "SELECT * FROM query_table('orders')",
    "SELECT * FROM json_execute_serialized_sql('{}')",
    'SELECT * FROM duckdb_settings()',
    'SELECT * FROM duckdb_secrets()',
    'SELECT * FROM information_schema.tables',
    'SELECT * FROM pg_catalog.pg_tables',
    'SELECT * FROM main.orders',
    'SELECT * FROM memory.main.orders',
    'SELECT * FROM system.main.duckdb_tables',
    "SELECT (SELECT count(*) FROM read_csv('SECRET')) FROM orders",
    "SELECT * FROM orders WHERE id IN (SELECT id FROM 'SECRET')",
    "WITH c AS (SELECT * FROM read_csv('SECRET')) SELECT * FROM c",
    "SELECT * FROM orders, LATERAL (SELECT * FROM read_csv('SECRET'))",
    "SELECT list_transform([1], x -> (SELECT max(key) FROM read_csv('SECRET')))",
    "SELECT getenv('HOME')",
    "SELECT current_setting('temp_directory')",
    "SELECT getvariable('x')",
    "SELECT read_text('/etc/passwd')",
    "SELECT json_serialize_plan('SELECT 1')",
    'SELECT pg_get_viewdef(1)',
    'SELECT get_block_size(1)',
    "SELECT write_log('x')",
    'SELECT * FROM test_all_types()',
  ])('%s', async (query) => {
    await expectRefused(query.replaceAll('SECRET', secret), /lake|server's settings|no function|differently|catalogue/);
  });

  it.each([
    ['SELECT * FROM duckdb_tables', /no table "duckdb_tables"/],
    ['SELECT * FROM pragma_database_list', /no table "pragma_database_list"/],
    ['SELECT * FROM sqlite_master', /no table "sqlite_master"/],
    ['WITH sqlite_master AS (SELECT * FROM sqlite_master) SELECT * FROM sqlite_master', /no table "sqlite_master"/],
    [
      'WITH RECURSIVE duckdb_tables AS (FROM duckdb_tables UNION ALL FROM duckdb_tables) FROM duckdb_tables',
      /no table/,
    ],
    ['WITH "duc\u212Adb_tables" AS (SELECT 1) SELECT * FROM duckdb_tables', /no table "duckdb_tables"/],
    ['SELECT * FROM (WITH duckdb_tables AS (SELECT 1) SELECT 1) a, duckdb_tables', /no table "duckdb_tables"/],
    ['SELECT * FROM ordrs', /Did you mean "orders"/],
    ['SELECT * FROM orders o JOIN customers c USING (id)', /no table "customers"/],
  ])('%s', async (query, message) => {
    await expect(planSnapshot(lake, { query, asOf: null })).rejects.toMatchObject({
      code: 'table-not-found',
      message: expect.stringMatching(message) as string,
    });
  });
});

describe('the sandbox, should a query ever get past the guard,', () => {
  it.each([
    "SELECT * FROM read_csv('SECRET')",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM glob('/etc/*')",
    "COPY (SELECT 1) TO '/tmp/stolen.csv'",
    "ATTACH '/tmp/other.duckdb' AS other",
    'INSTALL httpfs',
    "LOAD '/tmp/evil.duckdb_extension'",
    'SET enable_external_access = true',
    "SET allowed_directories = ['/']",
    "SET temp_directory = '/tmp/elsewhere'",
    'SET lock_configuration = false',
    'SET threads = 64',
    "SELECT * FROM 'https://example.com/x.parquet'",
  ])('refuses %s', async (statement) => {
    const limits = { threads: 1, memoryMib: 128, directory: lake.scratch, directoryBytesMax: 1024 };
    const sandbox = await openSandbox({ ...limits, directory: join(lake.scratch, 'cage') }, []);
    await expect(sandbox.run(statement.replace('SECRET', secret))).rejects.toThrow(
      /Permission|locked|disabled|Invalid Input/,
    );
    sandbox.closeSync();
  });
});

describe('answers that would differ next time', () => {
  it.each([
    ['SELECT now()', /\$as_of/],
    ['SELECT NOW()', /\$as_of/],
    ['SELECT today()', /\$as_of/],
    ['SELECT current_date', /\$as_of/],
    ['SELECT CURRENT_TIMESTAMP', /\$as_of/],
    ["SELECT * FROM orders WHERE localtimestamp > TIMESTAMP '2020-01-01'", /\$as_of/],
    ['SELECT get_current_timestamp()', /\$as_of/],
    ['SELECT current_localtimestamp()', /\$as_of/],
    ['SELECT transaction_timestamp()', /\$as_of/],
    ['SELECT ago(INTERVAL 1 DAY)', /\$as_of/],
    ['SELECT pg_postmaster_start_time()', /\$as_of/],
    ["SELECT age(TIMESTAMP '2020-01-01')", /counts from today/],
    ['SELECT random()', /hash\(id\)/],
    ['SELECT * FROM orders ORDER BY random()', /hash\(id\)/],
    ['SELECT setseed(0.5), random()', /hash\(id\)/],
    ['SELECT uuid()', /hash\(id\)/],
    ['SELECT gen_random_uuid()', /hash\(id\)/],
    ['SELECT list_transform([1, 2], x -> random())', /hash\(id\)/],
    ['SELECT sum(id) OVER (ORDER BY random()) FROM orders', /hash\(id\)/],
    ['SELECT * FROM orders USING SAMPLE 10%', /seed/],
    ['SELECT * FROM orders TABLESAMPLE 1 ROWS', /seed/],
    ["SELECT nextval('s')", /differently/],
    ['SELECT txid_current()', /differently/],
    ['SELECT pg_sleep(1)', /differently/],
    ['SELECT current_query()', /differently/],
    ['SELECT reservoir_quantile(id, 0.5) FROM orders', /hash\(id\)/],
    ["SELECT list_aggr([1, 2], 'reservoir_quantile', 0.5)", /hash\(id\)/],
    ['SELECT list_aggregate([1, 2], a) FROM (VALUES (1, 2)) t(a)', /as a text/],
    ['SELECT * FROM orders AT (TIMESTAMP => now())', /pins every table|differently/],
    ['SELECT nosuch(id) FROM orders', /no function nosuch/],
    ['SELECT lenght(id) FROM orders', /Did you mean "length"/],
  ])('%s', expectRefused);
});

describe('what a query may do', () => {
  it.each([
    'SELECT * FROM orders ORDER BY id;',
    'FROM orders',
    'VALUES (1, 2), (3, 4)',
    'WITH a AS (SELECT * FROM orders), b AS (SELECT * FROM a) SELECT * FROM b',
    'WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT * FROM r',
    'SELECT * FROM ORDERS WHERE "ID" = 1',
    'SELECT o.id, count(*) FILTER (WHERE amount > 1) FROM orders o GROUP BY ALL HAVING count(*) > 0',
    'SELECT id, row_number() OVER (ORDER BY amount) AS n, lag(id, 1, 0) OVER w FROM orders WINDOW w AS (ORDER BY id)',
    'SELECT * EXCLUDE (amount) REPLACE (id + 1 AS id) FROM orders',
    "SELECT COLUMNS('i.*') FROM orders",
    'SELECT * FROM orders a ASOF JOIN orders b ON a.id >= b.id',
    'SELECT * FROM orders a POSITIONAL JOIN orders b',
    'SELECT unnest([1, 2]) AS u, id FROM orders',
    'SELECT * FROM generate_series(1, 5) s(i), range(3) r(j)',
    'FROM orders PIVOT (sum(amount) FOR id IN (1, 2))',
    'FROM orders UNPIVOT (value FOR name IN (id, amount))',
    "SELECT date_trunc('month', $as_of) AS m, $as_of::DATE AS d, age($as_of, TIMESTAMPTZ '2020-01-01') AS a",
    'SELECT {id: id, list: [id, 2], map: MAP {1: amount}} AS nested FROM orders',
    "SELECT '{\"a\": 1}'::JSON ->> 'a' AS a, list_filter([1, 2], lambda x: x > 1) AS l",
    'SELECT * FROM orders USING SAMPLE 50% (bernoulli, 42)',
    'SELECT DISTINCT ON (amount) * FROM orders ORDER BY amount',
    '(SELECT 1 AS a) UNION BY NAME (SELECT 2 AS b) ',
    'SELECT hash(id) % 10 < 8 AS train, md5(id::VARCHAR) AS m FROM orders',
    'SELECT \'SELECT now(); DROP TABLE x\' AS text, id AS "current_date; --" FROM orders',
    'SELECT * FROM orders WHERE false',
    'SELECT sum(id) AS total FROM orders LIMIT 10',
    'SELECT histogram(id) AS h, json_group_object(id, amount) AS j, geomean(amount) AS g FROM orders',
    'SELECT id FROM orders WHERE id > ALL (SELECT 0) AND EXISTS (FROM orders) LIMIT (SELECT 1)',
  ])('%s', async (query) => {
    expect(await run(query)).toMatchObject({ hit: false, columns: expect.any(Array) as unknown[] });
  });

  it('answers the same bytes when it runs again from nothing', async () => {
    const other = await createTestLake();
    await other.append('orders', 'csv', 'id,amount\n1,1.5\n2,2.5\n');
    for (const query of [
      'SELECT sum(amount) AS s FROM orders',
      'SELECT * FROM orders USING SAMPLE 50% (bernoulli, 42)',
    ]) {
      const [here, there] = [await run(query), await materialise(other, { query, asOf: null })];
      expect(there.sha256).toBe(here.sha256);
    }
    await other.remove();
  });
});

describe('mistakes in a query', () => {
  it.each([
    ['SELECT nosuch FROM orders', /"nosuch"/],
    ["SELECT id + 'x' FROM orders", /x/],
    ["SELECT 'x'::INTEGER", /Could not convert/],
    ['SELECT id FROM orders GROUP BY amount', /GROUP BY/],
  ])('%s is refused in the words of the engine', async (query, message) => {
    await expect(run(query)).rejects.toMatchObject({
      code: 'query-refused',
      message: expect.stringMatching(message) as string,
    });
  });

  it('tells nothing of the statement made from it or of where the result goes', async () => {
    await expect(run("SELECT 'now'::TIMESTAMP")).rejects.toSatisfy(({ message }: Error) => {
      return message.includes('"now"') && !message.includes('COPY') && !message.includes(lake.engine.cacheDir);
    });
  });

  it('leave nothing in the working directory', async () => {
    stopInspecting();
    await lake.engine.close();
    expect(await readdir(join(lake.engine.cacheDir, 'work'))).toEqual([]);
    expect((await stat(secret)).size).toBe(10);
  });
});
