// A run's data read again: over a real database, real query processes, and a lake that somebody has tampered with.
import { chmod, cp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { touchBlob } from '#db/blobs.ts';
import type { SnapshotRow } from '#db/snapshots.ts';
import { createDatasetVersion } from '#lake/datasets.ts';
import { materialise } from '#lake/query.ts';
import { type PinnedQuery, refetchDataset, refetchQuery } from '#lake/refetch.ts';
import { keepBlob } from '#storage/keep.ts';
import { markDamage } from '#storage/mark-damage.ts';
import { createTestLake, type TestLake } from './lake.ts';

let lake: TestLake;
let owner: pg.Client;
const query = 'SELECT * FROM events ORDER BY id';
const rowsOf = (changed: number | null) =>
  Array.from({ length: 10_500 }, (_, id) => `${id},${id === changed ? 7.5 : id / 2}`).join('\n');
/** The segment that events would have, had one old row past row 10,000 been another. */
let rewritten: { sha256: string; bytes: Buffer };

beforeAll(async () => {
  lake = await createTestLake();
  lake = { ...lake, store: markDamage(lake.store, lake.db) };
  owner = new pg.Client({ connectionString: lake.ownerUrl });
  await owner.connect();
  await lake.append('events', 'csv', `id,amount\n${rowsOf(null)}\n`);
  await lake.append('events', 'csv', 'id,amount\n20000,1.5\n');
  const other = await lake.append('scratch', 'csv', `id,amount\n${rowsOf(10_200)}\n`);
  rewritten = { sha256: other.sha256, bytes: await readFile(objectOf(other.sha256)) };
});
afterAll(async () => {
  await owner?.end();
  await lake?.remove();
});

let snapshot: SnapshotRow;
let pinned: PinnedQuery;
beforeEach(async () => {
  snapshot = await materialise(lake, { query, asOf: null });
  pinned = { name: 'events', run: 'digits/41', query, params: {}, snapshot, expected: expectedOf(snapshot) };
});

const objectOf = (sha256: string) => join(lake.scratch, 'blobs', 'objects', sha256.slice(0, 2), sha256);
const expectedOf = ({ sha256, unorderedDigest, rows }: SnapshotRow) => ({ sha256, unorderedDigest, rows });

async function withObject(sha256: string, change: () => Promise<void>, test: () => Promise<void>): Promise<void> {
  const kept = join(lake.scratch, 'kept');
  await cp(objectOf(sha256), kept);
  await chmod(objectOf(sha256), 0o600);
  await change();
  try {
    await test();
  } finally {
    await rm(objectOf(sha256), { force: true });
    await keepBlob(lake.db, lake.store, { file: kept, adopt: true });
  }
}

/** What the triggers refuse the application; an owner of the database can do it. */
async function asOwner(statement: string, values: unknown[], test: () => Promise<void>, undo: [string, unknown[]]) {
  const run = async (text: string, args: unknown[]) => {
    await owner.query('alter table lake_segments disable trigger user');
    await owner.query(text, args);
    await owner.query('alter table lake_segments enable trigger user');
  };
  await run(statement, values);
  try {
    await test();
  } finally {
    await run(...undo);
  }
}

describe('the data of a run that are read again', () => {
  it('are taken when they are what was recorded, and make a lost snapshot whole again', async () => {
    await rm(objectOf(snapshot.sha256));
    expect(await refetchQuery(lake, pinned)).toEqual({ engine: snapshot.engine });
    expect((await lake.store.stat(snapshot.sha256))?.sizeBytes).toBe(snapshot.sizeBytes);
  });

  it('are refused when a segment was replaced in the store, although a good copy lies in the cache', async () => {
    const [first] = snapshot.segments;
    const sha256 = first?.sha256 ?? '';
    await withObject(
      sha256,
      () => writeFile(objectOf(sha256), rewritten.bytes),
      async () => {
        const refused = await refetchQuery(lake, pinned).catch((error: unknown) => error);
        expect(refused).toMatchObject({ code: 'data-gone' });
        expect(String(refused)).toContain(`segment ${sha256} of table events (10500 rows`);
        expect(String(refused)).toContain('is damaged');
        expect(await touchBlob(lake.db, sha256)).toBe(false);
      },
    );
    expect(await touchBlob(lake.db, sha256)).toBe(true);
    await refetchQuery(lake, pinned);
  });

  it('are refused when segments are gone, each by its name', async () => {
    const [first, second] = snapshot.segments.map(({ sha256 }) => sha256);
    await withObject(
      first ?? '',
      () => rm(objectOf(first ?? '')),
      async () => {
        await expect(refetchQuery(lake, pinned)).rejects.toMatchObject({
          code: 'data-gone',
          details: [{ path: first, message: expect.stringContaining('is gone') as string }],
        });
      },
    );
    expect(second).not.toBe(first);
  });

  it('are refused when the history names a rewritten segment: one old row past row 10,000', async () => {
    const sha256 = snapshot.segments[0]?.sha256 ?? '';
    const put = `update lake_segments set sha256 = $1 where table_name = 'events' and sha256 = $2`;
    await asOwner(
      put,
      [rewritten.sha256, sha256],
      async () => {
        const refused = await refetchQuery(lake, pinned).catch((error: unknown) => error);
        expect(refused).toMatchObject({ code: 'data-changed' });
        expect(String(refused)).toMatch(
          new RegExp(`expected 10501 rows with sha256 ${snapshot.sha256}, found 10501 rows with [0-9a-f]{64}`),
        );
        expect(String(refused)).toContain('other rows, not the same in another order');
        expect(String(refused)).toContain(`segment ${sha256} of table events is not in the lake's history any more`);
      },
      [put, [sha256, rewritten.sha256]],
    );
    await refetchQuery(lake, pinned);
  });

  it('are refused when the recorded list of segments itself was changed', async () => {
    const changed = { ...snapshot, segments: [{ table: 'events', sha256: rewritten.sha256 }] };
    await expect(refetchQuery(lake, { ...pinned, snapshot: changed })).rejects.toMatchObject({ code: 'data-changed' });
  });

  it('say when they are the same rows in another order', async () => {
    const turned = 'SELECT * FROM events ORDER BY id DESC';
    const refused = refetchQuery(lake, { ...pinned, query: turned });
    await expect(refused).rejects.toThrow('They are the same rows in another order');
  });

  it('are compared row by row with what another version of the engine wrote', async () => {
    const before = { ...snapshot, engine: 'duckdb v0.9.0' };
    expect(await refetchQuery(lake, { ...pinned, snapshot: before })).toEqual({ engine: snapshot.engine });
    const turned = await materialise(lake, { query: 'SELECT * FROM events ORDER BY id DESC', asOf: null });
    const refused = refetchQuery(lake, { ...pinned, snapshot: before, expected: expectedOf(turned) });
    await expect(refused).rejects.toThrow('same rows in another order');
  });

  it('may be a dataset: its list of files and every file are looked at', async () => {
    const blob = await keepBlob(lake.db, lake.store, Buffer.from('the only file'));
    const files = [{ path: 'a.txt', ...blob }];
    const { version, digest } = await createDatasetVersion(lake, { name: 'faces', files, by: 'ada' });
    const faces = { name: 'faces', run: 'digits/41', dataset: 'faces', version, digest, files: 1 };
    await refetchDataset(lake, faces);
    await expect(refetchDataset(lake, { ...faces, digest: '0'.repeat(64) })).rejects.toThrow(
      `expected 1 files of dataset faces version 1 with digest ${'0'.repeat(64)}, found 1 with ${digest}`,
    );
    await expect(refetchDataset(lake, { ...faces, version: 9 })).rejects.toMatchObject({ code: 'data-gone' });
    await withObject(
      blob.sha256,
      () => rm(objectOf(blob.sha256)),
      async () => {
        const refused = refetchDataset(lake, faces);
        await expect(refused).rejects.toMatchObject({ code: 'data-gone', details: [{ path: 'a.txt' }] });
      },
    );
  });
});
