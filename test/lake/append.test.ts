import { gzipSync } from 'node:zlib';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { sql } from 'drizzle-orm';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { appendSegment } from '#lake/append.ts';
import { parseAsOf } from '#lake/as-of.ts';
import { exportSnapshot } from '#lake/export.ts';
import { materialise } from '#lake/query.ts';
import { getTable, listTables, previewTable } from '#lake/tables.ts';
import { type TestLake, createTestLake, scratchFile } from './lake.ts';

let lake: TestLake;
let tables = 0;

beforeAll(async () => {
  lake = await createTestLake();
});
afterAll(() => lake?.remove());

const select = (query: string, asOf: string | null = null) => materialise(lake, { query, asOf });

async function previewOf(query: string): Promise<Array<Record<string, unknown>>> {
  const { sha256 } = await select(query);
  return lake.engine.work(async (session) => {
    const file = join(session.directory, 'rows.parquet');
    await lake.store.copyTo(sha256, file);
    return (await session.call('preview', { files: [file], limit: 100 })).rows;
  });
}

describe('appending', () => {
  it('creates the table with the types it finds', async () => {
    const csv =
      'id,price,name,sold,at,ok\n1,1.5,a,2024-01-01,2024-01-01 12:00:00,true\n2,2,b,2024-01-02,2024-01-02 12:00:00,false\n';
    const segment = await lake.append('typed', 'csv', csv);
    expect(segment).toMatchObject({ created: true, repeated: false, rows: 2, table: 'typed', committedBy: 'tester' });
    expect(segment.columns.map(({ name, type }) => `${name} ${type}`)).toEqual([
      'id BIGINT',
      'price DOUBLE',
      'name VARCHAR',
      'sold DATE',
      'at TIMESTAMP',
      'ok BOOLEAN',
    ]);
  });

  it('reads JSON lines with nested values, and Parquet', async () => {
    await lake.append('nested', 'jsonl', '{"id":1,"tags":["a","b"],"at":{"x":1}}\n{"id":2,"tags":[],"at":{"x":2}}\n');
    expect(await previewTable(lake, { table: 'nested' })).toMatchObject({
      rows: [
        { id: 1, tags: ['a', 'b'], at: { x: '1' } },
        { id: 2, tags: [], at: { x: '2' } },
      ],
      rowsTotal: 2,
    });
    const { sha256 } = await select('SELECT * FROM nested');
    const file = join(lake.scratch, 'nested.parquet');
    await exportSnapshot(lake, { sha256, format: 'parquet', path: file });
    const again = await appendSegment(lake, { table: 'nested', source: { file }, format: 'parquet', by: 'tester' });
    expect(again).toMatchObject({ created: false, rows: 2, newColumns: [] });
  });

  it('reads compressed text, whatever the file is called', async () => {
    expect(await lake.append('zipped', 'csv', gzipSync('id\n1\n2\n'))).toMatchObject({ rows: 2 });
    expect(await lake.append('zipped', 'jsonl', gzipSync('{"id":3}\n'))).toMatchObject({ rows: 1 });
  });

  it('takes text as it is: leading zeros stay in a text column', async () => {
    await lake.append('codes', 'csv', 'code\nab\n');
    await lake.append('codes', 'csv', 'code\n007\n');
    expect(await previewOf('SELECT code FROM codes')).toEqual([{ code: '007' }, { code: 'ab' }]);
  });

  it('takes numbers, dates and empty columns that fit the table although they look like another type', async () => {
    await lake.append('fits', 'csv', 'x,at,n\n1.5,2024-01-01 12:00:00,1\n');
    await lake.append('fits', 'csv', 'x,at,n\n2,2024-01-02,\n');
    await lake.append('fits', 'jsonl', '{"x":3,"at":"2024-01-03","n":null}\n{"x":4.5,"at":null,"n":2}\n');
    expect(await previewOf('SELECT * FROM fits')).toEqual([
      { x: 1.5, at: '2024-01-01 12:00:00', n: 1 },
      { x: 2, at: '2024-01-02 00:00:00', n: null },
      { x: 3, at: '2024-01-03 00:00:00', n: null },
      { x: 4.5, at: null, n: 2 },
    ]);
  });

  it('adds new columns, which are null in older segments, and leaves missing ones null', async () => {
    await lake.append('grows', 'csv', 'a\n1\n');
    const wider = await lake.append('grows', 'csv', 'A,b\n2,x\n');
    expect(wider.newColumns).toEqual([{ name: 'b', type: 'VARCHAR' }]);
    await lake.append('grows', 'csv', 'b\ny\n');
    expect((await getTable(lake, 'grows')).columns).toEqual([
      { name: 'a', type: 'BIGINT' },
      { name: 'b', type: 'VARCHAR' },
    ]);
    expect(await previewOf('SELECT * FROM grows ORDER BY a NULLS LAST')).toEqual([
      { a: 1, b: null },
      { a: 2, b: 'x' },
      { a: null, b: 'y' },
    ]);
  });

  it.each([
    [
      'csv',
      'id,age\n1,31\n2,unknown\n',
      /column "age" is VARCHAR in the file, for example "unknown"; the table has BIGINT/,
    ],
    ['csv', 'id,age\n1,31.5\n', /column "age" is DOUBLE in the file/],
    ['csv', 'id,age\n1,99999999999999999999\n', /column "age"/],
    ['csv', 'id,age\nx,y\n', /column "id".*column "age"/],
    ['jsonl', '{"id":1,"age":"old"}\n', /column "age" is VARCHAR/],
    ['jsonl', '{"id":1,"age":{"years":3}}\n', /column "age" is STRUCT/],
    ['jsonl', '{"id":1,"age":[3]}\n', /column "age" is BIGINT\[\]/],
  ] as const)('refuses a changed type and names the column (%s %j)', async (format, text, message) => {
    await lake.append('drift', 'csv', 'id,age\n1,30\n');
    const before = await getTable(lake, 'drift');
    await expect(lake.append('drift', format, text)).rejects.toMatchObject({
      code: 'schema-drift',
      message: expect.stringMatching(message) as string,
    });
    expect((await getTable(lake, 'drift')).segments).toBe(before.segments);
  });

  it.each([
    ['csv', '', /is empty/],
    ['csv', 'a,b\n', /no rows/],
    ['csv', 'a,a\n1,2\n', /Two columns are called "a"/],
    ['csv', 'a,\n1,2\n', /can not be a column's name/],
    ['csv', '1,2\n3,4\n', /only numbers/],
    ['csv', '"a,b\n1,2\n', /closing/],
    ['csv', 'a,b\n1,"unfinished\n', /Line: 2.*unterminated quote/s],
    ['csv', 'a,b\n1,2\n3\n', /Line: 3.*Expected Number of Columns: 2 Found: 1/s],
    ['csv', 'a,b\n1,2,3\n', /Expected Number of Columns: 2 Found: 3/],
    ['csv', Buffer.from([0x61, 0x0a, 0xe9, 0x0a]), /not utf-8/],
    ['jsonl', 'not json\n', /Malformed JSON/],
    ['jsonl', '[1,2]\n', /expected records/],
    ['jsonl', '{"a":1}{"a":2}\n', /Malformed JSON/],
    ['jsonl', '{"a":1,"A":2}\n', /Two keys are called "A"/],
    ['parquet', 'PAR1 this is no parquet file PAR1', /Footer/],
    ['parquet', 'x', /too small/],
    [
      'parquet',
      Buffer.concat([Buffer.from('PAR1'), Buffer.alloc(100, 0xff), Buffer.from('PAR1')]),
      /outside|[Ff]ooter/,
    ],
    ['csv', Buffer.from([0x1f, 0x8b, 0x08, 0x00]), /GZIP/],
  ] as const)('says what is wrong with a file that can not be read (%s %j)', async (format, content, message) => {
    const error = await lake.append('broken', format, content).catch((caught: unknown) => caught);
    expect(error).toMatchObject({ code: 'invalid-request', message: expect.stringMatching(message) as string });
    expect((error as Error).message).not.toMatch(/SELECT|read_csv|strict_mode|work\//);
  });

  it.each([
    ['1\n2\n', 'BIGINT'],
    ['1\n2.5\n', 'DOUBLE'],
    ['-1e3\nNaN\ninf\n', 'DOUBLE'],
    ['007\n1\n', 'VARCHAR'],
    ['12345678901234567890\n', 'VARCHAR'],
    ['true\nFALSE\n', 'BOOLEAN'],
    ['2024-02-29\n', 'DATE'],
    ['2024-02-30\n', 'VARCHAR'],
    ['01/02/2024\n', 'VARCHAR'],
    ['2024-01-01 10:00\n2024-01-02\n', 'TIMESTAMP'],
    ['2024-01-01T10:00:00Z\n2024-01-01 10:00:00+02:00\n', 'TIMESTAMP WITH TIME ZONE'],
    ['"a;b"\n"c\nd"\n', 'VARCHAR'],
  ])('takes a column of %j for the narrowest type that loses nothing', async (values, type) => {
    const segment = await lake.append(`inferred_${tables++}`, 'csv', `x\n${values}`);
    expect(segment.columns).toEqual([{ name: 'x', type }]);
  });

  it('finds a column wider than its first rows were', async () => {
    const many = '1,1\n'.repeat(30_000);
    const segment = await lake.append('widened', 'csv', `x,y\n${many}2.5,z\n`);
    expect(segment.columns).toEqual([
      { name: 'x', type: 'DOUBLE' },
      { name: 'y', type: 'VARCHAR' },
    ]);
  });

  it.each(['', 'Orders', 'a b', 'a-b', '1a', 'a"b', "a'b", '../x', 'a'.repeat(64)])(
    'refuses the table name %j',
    async (name) => {
      await expect(lake.append(name, 'csv', 'a\n1\n')).rejects.toMatchObject({ code: 'invalid-request' });
    },
  );

  it('takes column names that would be dangerous in SQL, unchanged', async () => {
    const name = `x"; DROP TABLE y; -- '$as_of`;
    await lake.append('odd', 'jsonl', `${JSON.stringify({ [name]: 1 })}\n`);
    const { columns } = await select('SELECT * FROM odd');
    expect(columns).toEqual([{ name, type: 'BIGINT' }]);
  });

  it('is the same segment when it is repeated with its key, and refused with other rows', async () => {
    const first = await lake.append('keyed', 'csv', 'a\n1\n', { appendKey: 'load-7' });
    const again = await lake.append('keyed', 'csv', 'a\n1\n', { appendKey: 'load-7' });
    expect(again).toMatchObject({ repeated: true, committedAt: first.committedAt, sha256: first.sha256 });
    expect((await getTable(lake, 'keyed')).segments).toBe(1);
    const other = lake.append('keyed', 'csv', 'a\n2\n', { appendKey: 'load-7' });
    await expect(other).rejects.toMatchObject({ code: 'idempotency-conflict' });
  });

  it('commits strictly one after the other when ten come at once', async () => {
    const appends = Array.from({ length: 10 }, (_, n) =>
      lake.append('raced', 'csv', n % 2 === 0 ? `a\n${n}\n` : `a,b${n}\n${n},1\n`),
    );
    await Promise.all(appends);
    const { newest, columns } = await getTable(lake, 'raced');
    const times = newest.map((segment) => segment.committedAt);
    expect(new Set(times).size).toBe(10);
    expect(times).toEqual(times.toSorted().toReversed());
    expect(columns.map(({ name }) => name).toSorted()).toEqual(['a', 'b1', 'b3', 'b5', 'b7', 'b9']);
    expect(await previewOf('SELECT count(*) AS n, sum(a) AS s FROM raced')).toMatchObject([{ n: 10 }]);
  });

  it('tells what there is', async () => {
    const tables = await listTables(lake);
    expect(tables.find(({ name }) => name === 'keyed')).toMatchObject({ segments: 1, rows: 1, createdBy: 'tester' });
    await expect(getTable(lake, 'keyd')).rejects.toMatchObject({
      code: 'table-not-found',
      message: expect.stringContaining('keyed') as string,
    });
  });
});

describe('an as-of', () => {
  it('gives the same bytes for ever, whatever is appended later', async () => {
    const first = await lake.append('late', 'csv', 'id\n1\n2\n');
    const query = 'SELECT * FROM late';
    const before = await select(query, first.committedAt);
    await lake.append('late', 'csv', 'id,extra\n0,x\n');
    const after = await select(query, first.committedAt);
    expect(after).toMatchObject({ sha256: before.sha256, hit: true });
    // Another key forces the query to run again over the same segments.
    const again = await select('SELECT * FROM late WHERE $as_of IS NOT NULL', first.committedAt);
    expect(again.sha256).toBe(before.sha256);
    const now = await select(query);
    expect(now).toMatchObject({ rows: 3, segments: [{}, {}] });
  });

  it('can be pinned to a list of segments', async () => {
    const old = await select('SELECT * FROM late', null);
    await lake.append('late', 'csv', 'id\n9\n');
    const pinned = await materialise(lake, { query: 'SELECT id FROM late', asOf: null, segments: old.segments });
    expect(pinned).toMatchObject({ rows: 3, segments: old.segments });
  });

  it('refuses the future, times before the table, and what is no time', async () => {
    const query = 'SELECT * FROM late';
    await expect(select(query, '2999-01-01')).rejects.toMatchObject({ code: 'as-of-in-future' });
    await expect(select(query, '2001-01-01')).rejects.toMatchObject({
      code: 'table-not-found',
      message: expect.stringContaining('no rows yet') as string,
    });
    for (const text of ['now', 'infinity', 'yesterday', '2024-13-01', '2024-01-01T25:00:00Z', "2024-01-01'; --", '']) {
      await expect(select(query, text)).rejects.toMatchObject({ code: 'invalid-request' });
    }
  });

  it('is read to the microsecond, in UTC where no offset is given', () => {
    expect(parseAsOf('2024-01-01')).toBe('2024-01-01T00:00:00Z');
    expect(parseAsOf('2024-01-01 12:00')).toBe('2024-01-01T12:00Z');
    expect(parseAsOf('2024-01-01T12:00:00.123456+02:00')).toBe('2024-01-01T12:00:00.123456+02:00');
    expect(parseAsOf('2024-01-01T12:00:00+02')).toBe('2024-01-01T12:00:00+02:00');
  });
});

describe('the manifest', () => {
  it('refuses to be changed, also by its owner', async () => {
    const statements = [
      'UPDATE lake_segments SET rows = 0',
      'DELETE FROM lake_segments',
      'TRUNCATE lake_segments',
      'UPDATE dataset_versions SET version = 9',
      'DELETE FROM dataset_files',
      'TRUNCATE dataset_versions, dataset_files',
    ];
    await lake.db.execute(sql`insert into datasets (name, created_by) values ('d', 'x')`);
    await lake.db.execute(sql`insert into dataset_versions values ('d', 1, 'x', 0, 0, now(), 'x')`);
    const { sha256 } = await lake.append('manifest', 'csv', 'a\n1\n');
    await lake.db.execute(sql`insert into dataset_files values ('d', 1, 'p', 0, ${sha256})`);
    const owner = new pg.Client({ connectionString: lake.ownerUrl });
    await owner.connect();
    for (const statement of statements) {
      await expect(lake.db.execute(sql.raw(statement)), statement).rejects.toMatchObject({
        cause: { message: expect.stringMatching(/permission denied/) as string },
      });
      await expect(owner.query(statement), statement).rejects.toThrow(/append-only/);
    }
    await owner.end();
  });
});

describe('a hostile file', () => {
  it('is no pattern: a name with stars is that file', async () => {
    const file = await scratchFile(lake, 'a*[b].csv', 'a\n1\n');
    await writeFile(join(lake.scratch, 'aXb.csv'), 'a\n2\n');
    const segment = await appendSegment(lake, { table: 'stars', source: { file }, format: 'csv', by: 'tester' });
    expect(segment.rows).toBe(1);
  });
});
