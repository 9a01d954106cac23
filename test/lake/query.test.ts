import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, readdir, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { exportSnapshot } from '#lake/export.ts';
import { createLakeEngine } from '#lake/engine/engine.ts';
import { checkQuery, materialise, planSnapshot } from '#lake/query.ts';
import { trimSegmentCache } from '#lake/segment-cache.ts';
import { type TestLake, createTestLake } from './lake.ts';

let lake: TestLake;
let firstCommit: string;

beforeAll(async () => {
  lake = await createTestLake();
  const first = await lake.append(
    'orders',
    'csv',
    'id,amount,customer,day\n3,1.5,ann,2024-01-03\n1,2.5,bob,2024-01-01\n2,2.5,ann,2024-01-02\n',
  );
  firstCommit = first.committedAt;
});
afterAll(() => lake?.remove());

async function rowsOf(
  query: string,
  more: { params?: Record<string, unknown>; asOf?: string } = {},
): Promise<unknown[]> {
  const snapshot = await materialise(lake, { query, asOf: null, ...more });
  const path = join(lake.scratch, `${snapshot.id}.jsonl`);
  await exportSnapshot(lake, { sha256: snapshot.sha256, format: 'jsonl', path });
  const text = await readFile(path, 'utf8');
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as unknown);
}

describe('a query', () => {
  it('becomes a snapshot with its rows, types, hashes, profile and segments', async () => {
    const snapshot = await materialise(lake, { query: 'SELECT * FROM orders', asOf: null });
    expect(snapshot).toMatchObject({
      rows: 3,
      columns: [
        { name: 'id', type: 'BIGINT' },
        { name: 'amount', type: 'DOUBLE' },
        { name: 'customer', type: 'VARCHAR' },
        { name: 'day', type: 'DATE' },
      ],
      engine: expect.stringMatching(/^duckdb v\d/) as string,
      segments: [{ table: 'orders' }],
      profile: { rows: 3, columns: [{ name: 'id', min: '1', max: '3', nulls: 0 }, {}, { distinct: 2 }, {}] },
    });
    expect(snapshot.orderedDigest).toBe(snapshot.sha256);
  });

  it('comes in the order of all columns when it asks for none', async () => {
    expect(await rowsOf('SELECT id, customer FROM orders')).toEqual([
      { id: 1, customer: 'bob' },
      { id: 2, customer: 'ann' },
      { id: 3, customer: 'ann' },
    ]);
  });

  it('keeps its own order, and orders what that leaves open by all columns', async () => {
    const ids = (rows: unknown[]) => rows.map((row) => (row as { id: number }).id);
    expect(ids(await rowsOf('SELECT id FROM orders ORDER BY customer DESC'))).toEqual([1, 2, 3]);
    expect(ids(await rowsOf('SELECT id FROM orders ORDER BY ALL DESC'))).toEqual([3, 2, 1]);
    expect(ids(await rowsOf('SELECT id FROM orders ORDER BY amount DESC LIMIT 1'))).toEqual([1]);
    expect(ids(await rowsOf('SELECT id FROM orders LIMIT 2'))).toEqual([1, 2]);
  });

  it('says by its hashes that two results are the same rows in another order, and that two are not', async () => {
    const up = await materialise(lake, { query: 'SELECT * FROM orders ORDER BY id', asOf: null });
    const down = await materialise(lake, { query: 'SELECT * FROM orders ORDER BY id DESC', asOf: null });
    const twice = await materialise(lake, { query: 'SELECT * FROM orders UNION ALL SELECT * FROM orders', asOf: null });
    expect(down.orderedDigest).not.toBe(up.orderedDigest);
    expect(down.unorderedDigest).toBe(up.unorderedDigest);
    expect(twice.unorderedDigest).not.toBe(up.unorderedDigest);
  });

  it('is run once: asked again, also with other spaces and comments, the snapshot answers', async () => {
    const first = await materialise(lake, { query: 'SELECT id FROM orders WHERE id > 1', asOf: null });
    const again = await materialise(lake, { query: '-- the same\nselect  id from orders where (id > 1);', asOf: null });
    expect([first.hit, again.hit]).toEqual([false, true]);
    expect(again.id).toBe(first.id);
  });

  it('takes $as_of and parameters of every scalar type', async () => {
    const query =
      'SELECT $as_of AS at, $whole AS whole, $part AS part, $text AS text, $yes AS yes, $none AS none, id FROM orders WHERE id = $whole';
    const params = { whole: 2, part: 0.5, text: `it's "x"; --`, yes: true, none: null, unused: [1] };
    expect(await rowsOf(query, { params, asOf: firstCommit })).toEqual([
      { at: expect.any(String) as string, whole: 2, part: 0.5, text: `it's "x"; --`, yes: true, none: null, id: 2 },
    ]);
  });

  it('names a parameter that nobody gave, and the nearest one', async () => {
    const asked = materialise(lake, {
      query: 'SELECT * FROM orders WHERE id = $limt',
      params: { limit: 1 },
      asOf: null,
    });
    await expect(asked).rejects.toMatchObject({
      code: 'query-refused',
      message: expect.stringContaining('$limit') as string,
    });
  });

  it('has a key that changes with what it reads and with the as-of only if it names it', async () => {
    const now = await planSnapshot(lake, { query: 'SELECT * FROM orders', asOf: null });
    const then = await planSnapshot(lake, { query: 'SELECT * FROM orders', asOf: firstCommit });
    expect(then.snapshotKey).toBe(now.snapshotKey);
    const named = 'SELECT * FROM orders WHERE day < $as_of';
    const keys = await Promise.all([null, firstCommit].map((asOf) => planSnapshot(lake, { query: named, asOf })));
    expect(keys[0]?.snapshotKey).not.toBe(keys[1]?.snapshotKey);
  });

  it('gives the same bytes with one thread and with many', async () => {
    await lake.append(
      'many',
      'csv',
      `id,x\n${Array.from({ length: 300_000 }, (_, id) => `${(id * 7919) % 300_000},${id % 97}.25`).join('\n')}\n`,
    );
    const queries = [
      'SELECT * FROM many ORDER BY x',
      'SELECT x, sum(x) AS s, avg(id) AS a FROM many GROUP BY x',
      'SELECT * FROM many WHERE x > 3',
    ];
    const digests = async (threads: number) => {
      const engine = createLakeEngine({ cacheDir: join(lake.scratch, `cache-${threads}`), threads });
      const found = [];
      for (const query of queries) {
        // A parameter nobody looks at makes another key, so that every engine runs the query itself.
        const again = query.replace('SELECT', `SELECT ${threads} AS run,`);
        const snapshot = await materialise({ ...lake, engine }, { query: again, asOf: null });
        const path = join(lake.scratch, 'digest.csv');
        await exportSnapshot(lake, { sha256: snapshot.sha256, format: 'csv', path });
        found.push((await readFile(path, 'utf8')).replaceAll(new RegExp(`^${threads},`, 'gm'), ''));
      }
      await engine.close();
      return found;
    };
    const [one, four] = [await digests(1), await digests(4)];
    for (const index of queries.keys()) expect(one[index] === four[index]).toBe(true);
  });

  it('shortens huge values in its profile', async () => {
    const { profile } = await materialise(lake, { query: "SELECT repeat('é', 100000) AS long", asOf: null });
    const shortened = `${'é'.repeat(200)}…`;
    expect(profile).toMatchObject({ columns: [{ min: shortened, max: shortened }] });
  });

  it('profiles a large result from a sample, with exact extremes and nulls', async () => {
    const query = 'SELECT id, CASE WHEN id % 10 = 0 THEN NULL ELSE x END AS x FROM many';
    const { profile } = await materialise(lake, { query, asOf: null });
    expect(profile).toMatchObject({
      rows: 300_000,
      columns: [
        { name: 'id', min: '0', max: '299999', nulls: 0 },
        { name: 'x', nulls: 30_000 },
      ],
    });
  });

  it('is written in the asked format, in the snapshot order', async () => {
    const snapshot = await materialise(lake, { query: 'SELECT id, customer FROM orders ORDER BY id DESC', asOf: null });
    const path = join(lake.scratch, 'out.csv');
    await exportSnapshot(lake, { sha256: snapshot.sha256, format: 'csv', path });
    expect(await readFile(path, 'utf8')).toBe('id,customer\n3,ann\n2,ann\n1,bob\n');
    const parquet = await exportSnapshot(lake, {
      sha256: snapshot.sha256,
      format: 'parquet',
      path: join(lake.scratch, 'out.parquet'),
    });
    expect(parquet.sha256).toBe(snapshot.sha256);
  });
});

describe('the local copies of segments', () => {
  const segments = () => join(lake.engine.cacheDir, 'segments');
  const copies = async () =>
    (await readdir(segments(), { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile());

  it('are fetched again when they are gone, and make room once nobody used them for long', async () => {
    const [copy] = await copies();
    if (copy === undefined) throw new Error('a query has left a copy');
    const path = join(copy.parentPath, copy.name);
    expect(await trimSegmentCache(lake.engine.cacheDir, 0)).toBe(0);
    const longAgo = new Date(Date.now() - 2 * 60 * 60 * 1000);
    for (const one of await copies()) await utimes(join(one.parentPath, one.name), longAgo, longAgo);
    expect(await trimSegmentCache(lake.engine.cacheDir, 0)).toBeGreaterThan(0);
    expect(await copies()).toEqual([]);
    await rowsOf('SELECT id, 1 AS again FROM orders');
    await rowsOf('SELECT id, 1 AS again FROM many LIMIT 1');
    expect((await stat(path)).size).toBeGreaterThan(0);
  });

  it('are verified: a damaged segment is never read', async () => {
    const { sha256 } = await lake.append('damaged', 'csv', 'x\n1\n');
    const path = join(lake.scratch, 'blobs', 'objects', sha256.slice(0, 2), sha256);
    await writeFile(path, 'not the segment');
    await expect(rowsOf('SELECT * FROM damaged')).rejects.toMatchObject({ code: 'blob-corrupt' });
  });
});

describe('a check before anything runs', () => {
  it('tells tables, parameters and what is missing', async () => {
    expect(
      await checkQuery(lake, 'SELECT * FROM orders JOIN later USING (id) WHERE x < $limit AND t < $as_of'),
    ).toEqual({
      tables: ['later', 'orders'],
      parameters: ['limit'],
      usesAsOf: true,
      missingTables: ['later'],
    });
  });
});

describe('a query beyond its limits', () => {
  const endless = 'SELECT count(*) AS n FROM range(10000000000) a, range(1000000000) b';

  it('is stopped at the time limit, and the next one runs', async () => {
    const engine = createLakeEngine({ cacheDir: join(lake.scratch, 'cache'), timeoutMs: 500 });
    await expect(materialise({ ...lake, engine }, { query: endless, asOf: null })).rejects.toMatchObject({
      code: 'query-limit',
    });
    await engine.close();
    expect(await rowsOf('SELECT id FROM orders WHERE id = 3')).toEqual([{ id: 3 }]);
  });

  it('is refused over the memory limit', async () => {
    const engine = createLakeEngine({
      cacheDir: join(lake.scratch, 'cache'),
      memoryMib: 64,
      directoryBytesMax: 1024 * 1024,
    });
    const query = 'SELECT list(a.range ORDER BY a.range) AS l FROM range(30000000) a';
    await expect(materialise({ ...lake, engine }, { query, asOf: null })).rejects.toMatchObject({
      code: 'query-limit',
    });
    await engine.close();
  });

  it('ends with the run that asked for it', async () => {
    const cancelled = new AbortController();
    const asked = materialise(lake, { query: endless, asOf: null, signal: cancelled.signal });
    setTimeout(() => cancelled.abort(new Error('the run was cancelled')), 300);
    await expect(asked).rejects.toThrow('the run was cancelled');
  });

  it('ends when the process that asked for it is killed', async () => {
    const asker = spawn(
      process.execPath,
      [fileURLToPath(new URL('./query-forever.ts', import.meta.url)), join(lake.scratch, 'forever')],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    const [output] = (await once(asker.stdout, 'data')) as [Buffer];
    const pid = Number(output.toString());
    expect(isAlive(pid)).toBe(true);
    asker.kill('SIGKILL');
    await vi.waitFor(() => expect(isAlive(pid)).toBe(false), { timeout: 10_000 });
  });

  it('leaves no process and no file behind', async () => {
    await lake.engine.close();
    const { stdout } = await promisify(execFile)('ps', ['-eo', 'ppid,args']);
    const mine = stdout
      .split('\n')
      .filter((line) => line.includes('engine/process.ts') && line.trim().startsWith(`${process.pid} `));
    expect(mine).toEqual([]);
  });
});

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}
