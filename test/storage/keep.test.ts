import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { blobReferences, lockLiveBlobs, missingBlobs } from '#db/blobs.ts';
import { type Connection, connect } from '#db/connect.ts';
import { blobCorrupt, type BlobStore } from '#storage/blob-store.ts';
import { collectBlobs, collectStrays } from '#storage/collect.ts';
import { createDiskStore } from '#storage/disk.ts';
import { createS3Store } from '#storage/s3.ts';
import { keepBlob, readBlob } from '#storage/keep.ts';
import { markDamage } from '#storage/mark-damage.ts';
import { type TestDatabase, createTestDatabase } from '../support/postgres.ts';
import { createTestBucket } from '../support/s3.ts';
import { sha256Of } from './blob-store-contract.ts';
import { flipByte, objectFile, optionsFor } from './s3-stores.ts';

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'assay-keep-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

/** Each store with the place of a blob's bytes, for those who damage them. */
const stores = {
  'on disk': async () => ({
    store: await createDiskStore({ root: join(root, 'blobs'), durability: 'rename-only' }),
    fileOf: (sha256: string) => join(root, 'blobs', 'objects', sha256.slice(0, 2), sha256),
  }),
  'in S3': async () => {
    const bucket = await createTestBucket();
    return {
      store: await createS3Store(await optionsFor(bucket)),
      fileOf: (sha256: string) => objectFile(bucket, sha256),
    };
  },
};

describe.each(Object.entries(stores))('blobs %s', (_where, createStore) => {
  let database: TestDatabase;
  let connection: Connection;
  let store: BlobStore;
  let fileOf: (sha256: string) => string;

  beforeAll(async () => {
    database = await createTestDatabase();
    connection = connect(database.appUrl);
    ({ store, fileOf } = await createStore());
  });
  afterAll(async () => {
    await connection?.close();
    await database?.drop();
  });

  const all = { untouchedForMs: -60_000 };

  async function stateOf(sha256: string): Promise<string | undefined> {
    const { rows } = await connection.db.execute<{ state: string }>(
      sql`select state from blobs where sha256 = ${sha256}`,
    );
    return rows[0]?.state;
  }

  async function makeOld(sha256: string): Promise<void> {
    await connection.db.execute(sql`update blobs set touched_at = now() - interval '8 days' where sha256 = ${sha256}`);
  }

  /** Any row that names a blob will do; locks have few columns. */
  async function refer(sha256: string): Promise<void> {
    await connection.db.execute(
      sql`insert into locks (lock_key, lock_sha256, source) values (${sha256}, ${sha256}, '{}')`,
    );
  }

  describe('keeping a blob', () => {
    it('stores the bytes and then the row', async () => {
      const bytes = randomBytes(1000);
      const kept = await keepBlob(connection.db, store, bytes);
      expect(kept).toEqual({ sha256: sha256Of(bytes), sizeBytes: 1000 });
      expect(await stateOf(kept.sha256)).toBe('live');
      expect(bytes.equals(await readBlob(store, kept.sha256))).toBe(true);
    });

    it('writes no row when the bytes never arrive', async () => {
      const count = async () => (await connection.db.execute(sql`select 1 from blobs`)).rowCount;
      const before = await count();
      const broken = new Readable({
        read() {
          this.destroy(new Error('connection lost'));
        },
      });
      await expect(keepBlob(connection.db, store, broken)).rejects.toThrow('connection lost');
      expect(await count()).toBe(before);
    });

    it('touches the row again, so that old bytes that are wanted anew are not collected', async () => {
      const { sha256 } = await keepBlob(connection.db, store, randomBytes(10));
      const again = await readBlob(store, sha256);
      await makeOld(sha256);
      await keepBlob(connection.db, store, again);
      await collectBlobs({ db: connection.db, store });
      expect(await stateOf(sha256)).toBe('live');
    });

    it('refuses to read more than the caller can hold', async () => {
      const { sha256 } = await keepBlob(connection.db, store, randomBytes(1000));
      await expect(readBlob(store, sha256, 999)).rejects.toMatchObject({ code: 'payload-too-large' });
    });
  });

  describe('a reader who finds bytes damaged', () => {
    const readers = {
      'in a copy': (from: BlobStore, sha256: string) => from.copyTo(sha256, join(root, `copy-${sha256}`)),
      'in a stream': (from: BlobStore, sha256: string) => readBlob(from, sha256),
    };

    it.each(Object.entries(readers))('%s marks the row, until the same bytes are stored again', async (_how, read) => {
      const bytes = randomBytes(5000);
      const { sha256 } = await keepBlob(connection.db, store, bytes);
      await flipByte(fileOf(sha256));
      const told = markDamage(store, connection.db);
      await expect(read(told, sha256)).rejects.toMatchObject({ code: 'blob-corrupt' });
      expect(await stateOf(sha256)).toBe('damaged');
      const locking = connection.db.transaction((tx) => lockLiveBlobs(tx, [sha256]));
      await expect(locking).rejects.toMatchObject({ code: 'blob-missing' });
      await keepBlob(connection.db, told, bytes);
      expect(await stateOf(sha256)).toBe('live');
      await read(told, sha256);
    });

    it('marks what is gone, leaves what is not stored at all, and collection takes it when nothing refers to it', async () => {
      const told = markDamage(store, connection.db);
      const [kept, referred] = await Promise.all([1, 2].map(() => keepBlob(connection.db, store, randomBytes(50))));
      if (!kept || !referred) throw new Error('two blobs were kept');
      await refer(referred.sha256);
      for (const { sha256 } of [kept, referred]) {
        await store.delete(sha256);
        await expect(told.get(sha256)).rejects.toMatchObject({ code: 'blob-missing' });
        expect(await stateOf(sha256)).toBe('damaged');
        await makeOld(sha256);
      }
      await expect(told.get('0'.repeat(64))).rejects.toMatchObject({ code: 'blob-missing' });
      await collectBlobs({ db: connection.db, store });
      expect([await stateOf(kept.sha256), await stateOf(referred.sha256)]).toEqual([undefined, 'damaged']);
    });

    it('does not mark what was damaged on its way and is whole in the store', async () => {
      const { sha256 } = await keepBlob(connection.db, store, randomBytes(50));
      const noisy = { ...store, copyTo: () => Promise.reject(blobCorrupt(sha256, '0'.repeat(64))) };
      await expect(markDamage(noisy, connection.db).copyTo(sha256, join(root, 'noisy'))).rejects.toThrow(
        'did not arrive whole',
      );
      expect(await stateOf(sha256)).toBe('live');
    });

    it('and one who heals them at the same time leave the row live', async () => {
      const bytes = randomBytes(20_000);
      const { sha256 } = await keepBlob(connection.db, store, bytes);
      const told = markDamage(store, connection.db);
      for (let round = 0; round < 10; round += 1) {
        await flipByte(fileOf(sha256));
        const readings = [1, 2, 3].map(() => readBlob(told, sha256).catch((error: Error) => error));
        await Promise.all([...readings, keepBlob(connection.db, told, bytes)]);
        expect(await stateOf(sha256)).toBe('live');
        expect(bytes.equals(await readBlob(told, sha256))).toBe(true);
      }
    });
  });

  describe('collection', () => {
    it('takes unreferenced blobs that nobody touched for a week, and nothing else', async () => {
      const [fresh, old, referred] = await Promise.all(
        [1, 2, 3].map(() => keepBlob(connection.db, store, randomBytes(50))),
      );
      if (!fresh || !old || !referred) throw new Error('three blobs were kept');
      await refer(referred.sha256);
      await makeOld(old.sha256);
      await makeOld(referred.sha256);
      expect(await collectBlobs({ db: connection.db, store })).toEqual({ blobs: 1, sizeBytes: 50 });
      expect([await stateOf(fresh.sha256), await stateOf(old.sha256), await stateOf(referred.sha256)]).toEqual([
        'live',
        undefined,
        'live',
      ]);
      expect(await store.stat(old.sha256)).toBeNull();
      expect(await store.stat(referred.sha256)).not.toBeNull();
    });

    it('finishes what a collector that died had begun', async () => {
      const { sha256 } = await keepBlob(connection.db, store, randomBytes(50));
      await connection.db.execute(sql`update blobs set state = 'deleting' where sha256 = ${sha256}`);
      await store.delete(sha256);
      await collectBlobs({ db: connection.db, store });
      expect(await stateOf(sha256)).toBeUndefined();
    });

    it('lets a put of the same bytes win over a deletion that has only been announced', async () => {
      const bytes = randomBytes(50);
      const { sha256 } = await keepBlob(connection.db, store, bytes);
      await connection.db.execute(sql`update blobs set state = 'deleting' where sha256 = ${sha256}`);
      await keepBlob(connection.db, store, bytes);
      await collectBlobs({ db: connection.db, store });
      expect(await stateOf(sha256)).toBe('live');
      expect(bytes.equals(await readBlob(store, sha256))).toBe(true);
    });

    it('leaves every live row with its bytes while puts and collections race', async () => {
      const contents = Array.from({ length: 5 }, () => randomBytes(20_000));
      const putting = Array.from({ length: 60 }, (_, index) =>
        keepBlob(connection.db, store, contents[index % 5] as Buffer),
      );
      const collecting = Array.from({ length: 15 }, () => collectBlobs({ db: connection.db, store }, all));
      await Promise.all([...putting, ...collecting]);
      const { rows } = await connection.db.execute<{ sha256: string }>(
        sql`select sha256 from blobs where state = 'live'`,
      );
      for (const { sha256 } of rows) expect(sha256Of(await readBlob(store, sha256))).toBe(sha256);
    });

    it('never deletes a blob whose reference is being written', async () => {
      const { sha256 } = await keepBlob(connection.db, store, randomBytes(50));
      await connection.db.transaction(async (tx) => {
        await lockLiveBlobs(tx, [sha256]);
        await collectBlobs({ db: connection.db, store }, all);
        await tx.execute(sql`insert into locks (lock_key, lock_sha256, source) values (${sha256}, ${sha256}, '{}')`);
      });
      expect(await stateOf(sha256)).toBe('live');
      expect(await store.stat(sha256)).not.toBeNull();
    });

    it('refuses a reference to bytes that are about to go, and names them', async () => {
      const { sha256 } = await keepBlob(connection.db, store, randomBytes(50));
      await connection.db.execute(sql`update blobs set state = 'deleting' where sha256 = ${sha256}`);
      const locking = connection.db.transaction((tx) => lockLiveBlobs(tx, [sha256]));
      await expect(locking).rejects.toMatchObject({ code: 'blob-missing', details: [{ path: sha256 }] });
      expect(await missingBlobs(connection.db, [sha256])).toEqual([sha256]);
    });

    it('removes bytes without a row once they are old', async () => {
      const stray = await store.put(randomBytes(70));
      const kept = await keepBlob(connection.db, store, randomBytes(70));
      expect(await collectStrays({ db: connection.db, store }, { olderThanMs: 60_000 })).toMatchObject({ blobs: 0 });
      expect(await collectStrays({ db: connection.db, store }, { olderThanMs: -60_000 })).toMatchObject({
        blobs: 1,
        sizeBytes: 70,
      });
      expect(await store.stat(stray.sha256)).toBeNull();
      expect(await store.stat(kept.sha256)).not.toBeNull();
    });

    it('knows every column that names a blob: each sha256 column is one, except those that only repeat a reference', async () => {
      const { rows } = await connection.db.execute<{ name: string }>(sql`
      select table_name || '.' || column_name as name from information_schema.columns
      where table_schema = 'public' and column_name like '%sha256' and table_name <> 'blobs' order by 1`);
      const known = (await blobReferences(connection.db)).map(({ table, column }) => `${table}.${column}`);
      const notReferences = ['idempotency_keys.body_sha256'];
      expect(rows.map(({ name }) => name).filter((name) => !known.includes(name))).toEqual(notReferences);
    });
  });
});
