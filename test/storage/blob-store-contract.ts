// What every blob store has to do. A suite for one implementation calls this with a way to make a fresh store.
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { BlobStore, StoredBlob } from '#storage/blob-store.ts';

export interface StoreUnderTest {
  store: BlobStore;
  /** Changes one stored byte behind the store's back. */
  damage(sha256: string): Promise<void>;
  remove(): Promise<void>;
}

export function sha256Of(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

export function blobStoreContract(name: string, create: () => Promise<StoreUnderTest>): void {
  describe(`${name} keeps the promises of a blob store`, () => {
    let tested: StoreUnderTest;
    let scratch: string;
    const store = () => tested.store;

    beforeAll(async () => {
      tested = await create();
      scratch = await mkdtemp(join(tmpdir(), 'assay-blobs-'));
    });
    afterAll(async () => {
      await tested?.remove();
      await rm(scratch, { recursive: true, force: true });
    });

    /** Sizes around the chunk that stores read and write at once. */
    const sizes = [0, 1, 65_536, 1024 * 1024 - 1, 1024 * 1024, 3 * 1024 * 1024 + 17, 18 * 1024 * 1024 + 3];

    it.each(sizes)(
      'gives back %i bytes from memory, from a file, from a stream and from a file given away',
      async (size) => {
        const bytes = randomBytes(size);
        const expected = { sha256: sha256Of(bytes), sizeBytes: size };
        const file = join(scratch, `source-${size}`);
        await writeFile(file, bytes);
        const sources = () => [bytes, { file }, Readable.from(pieces(bytes)), { file, adopt: true }];
        for (const source of sources()) {
          await store().delete(expected.sha256);
          expect(await store().put(source)).toEqual(expected);
          expect(bytes.equals(await buffer(await store().get(expected.sha256)))).toBe(true);
        }
        expect(await store().stat(expected.sha256)).toMatchObject(expected);
      },
    );

    it('takes a file that was given away and leaves one that was not', async () => {
      const kept = join(scratch, 'kept');
      const given = join(scratch, 'given');
      await writeFile(kept, 'kept');
      await writeFile(given, 'given');
      await store().put({ file: kept });
      await store().put({ file: given, adopt: true });
      expect(await readFile(kept, 'utf8')).toBe('kept');
      await expect(stat(given)).rejects.toMatchObject({ code: 'ENOENT' });
    });

    it('shows nothing before commit and nothing after discard', async () => {
      const bytes = randomBytes(100);
      for (const source of [bytes, Readable.from([bytes])]) {
        const staged = await store().stage(source);
        expect(await store().stat(staged.sha256)).toBeNull();
        await staged.discard();
        expect(await store().stat(staged.sha256)).toBeNull();
      }
      const staged = await store().stage(Readable.from([bytes]));
      await staged.commit();
      expect(await store().stat(staged.sha256)).toMatchObject({ sizeBytes: 100 });
    });

    it('refuses other bytes than the announced ones and keeps none of them', async () => {
      const bytes = randomBytes(1000);
      const announced = sha256Of(Buffer.from('something else'));
      for (const source of [bytes, Readable.from([bytes])]) {
        await expect(store().put(source, { sha256: announced })).rejects.toMatchObject({ code: 'blob-corrupt' });
      }
      expect(await store().stat(sha256Of(bytes))).toBeNull();
      expect(await store().stat(announced)).toBeNull();
    });

    it('refuses more bytes than the limit, from memory, from a file and from an endless stream', async () => {
      const file = join(scratch, 'large');
      await writeFile(file, randomBytes(2000));
      const endless = Readable.from(endlessPieces());
      for (const source of [randomBytes(2000), { file }, endless, { file, adopt: true }]) {
        await expect(store().put(source, { sizeBytesMax: 1000 })).rejects.toMatchObject({ code: 'payload-too-large' });
      }
    });

    it('keeps nothing of a stream that breaks off', async () => {
      const before = await collect(store().list());
      await expect(store().put(Readable.from(brokenPieces()))).rejects.toThrow('connection lost');
      expect(await collect(store().list())).toHaveLength(before.length);
    });

    it('says at once that a blob is missing', async () => {
      const missing = sha256Of(Buffer.from('never stored'));
      await expect(store().get(missing)).rejects.toMatchObject({ code: 'blob-missing' });
      await expect(store().copyTo(missing, join(scratch, 'nothing'))).rejects.toMatchObject({ code: 'blob-missing' });
      expect(await store().stat(missing)).toBeNull();
      expect(await store().delete(missing)).toBe(false);
    });

    it('refuses names that are no digest, so that none of them can become a path', async () => {
      for (const name of [
        '',
        '../../etc/passwd',
        'a'.repeat(63),
        'A'.repeat(64),
        `${'a'.repeat(64)}/x`,
        `${'a'.repeat(64)}\n`,
      ]) {
        await expect(store().get(name)).rejects.toMatchObject({ code: 'invalid-request' });
        await expect(store().stat(name)).rejects.toMatchObject({ code: 'invalid-request' });
      }
    });

    it('reads a range, inclusive at both ends', async () => {
      const { sha256 } = await store().put(Buffer.from('0123456789'));
      expect((await buffer(await store().get(sha256, { start: 2, end: 4 }))).toString()).toBe('234');
      expect((await buffer(await store().get(sha256, { start: 9, end: 99 }))).toString()).toBe('9');
    });

    it('never passes damaged bytes off as the blob, and heals when the blob is put again', async () => {
      const bytes = randomBytes(200_000);
      const { sha256 } = await store().put(bytes);
      await tested.damage(sha256);
      await expect(buffer(await store().get(sha256))).rejects.toMatchObject({ code: 'blob-corrupt' });
      const copy = join(scratch, 'copy-of-damaged');
      await expect(store().copyTo(sha256, copy)).rejects.toMatchObject({ code: 'blob-corrupt' });
      await expect(stat(copy)).rejects.toMatchObject({ code: 'ENOENT' });
      for (const source of [bytes, Readable.from([bytes])]) {
        await store().put(source);
        expect(bytes.equals(await buffer(await store().get(sha256)))).toBe(true);
        await tested.damage(sha256);
      }
    });

    it('copies with the asked mode, and the copy is private', async () => {
      const { sha256 } = await store().put(Buffer.from('copied'));
      const copy = join(scratch, 'copy');
      await store().copyTo(sha256, copy, { mode: 0o755 });
      expect((await stat(copy)).mode & 0o777).toBe(0o755);
      await writeFile(copy, 'changed');
      expect((await buffer(await store().get(sha256))).toString()).toBe('copied');
    });

    it('stores one blob when many put the same bytes at once', async () => {
      const bytes = randomBytes(300_000);
      const puts = Array.from({ length: 20 }, (_, index) =>
        store().put(index % 2 === 0 ? bytes : Readable.from(pieces(bytes))),
      );
      const digests = new Set((await Promise.all(puts)).map((digest) => digest.sha256));
      expect([...digests]).toEqual([sha256Of(bytes)]);
      expect(bytes.equals(await buffer(await store().get(sha256Of(bytes))))).toBe(true);
    });

    it('lists what is stored, until it is deleted', async () => {
      const { sha256 } = await store().put(Buffer.from('listed'));
      const listed = () => collect(store().list()).then((blobs) => blobs.find((blob) => blob.sha256 === sha256));
      expect(await listed()).toMatchObject({ sizeBytes: 6 });
      expect(await store().delete(sha256)).toBe(true);
      expect(await listed()).toBeUndefined();
    });

    it('sweeps what unfinished puts left, and only when it is old enough', async () => {
      await store().stage(Readable.from(pieces(randomBytes(9 * 1024 * 1024))));
      expect(await store().sweep(60_000)).toBe(0);
      expect(await store().sweep(-1)).toBeGreaterThanOrEqual(1);
      expect(await store().sweep(-1)).toBe(0);
    });
  });
}

async function collect(blobs: AsyncIterable<StoredBlob>): Promise<StoredBlob[]> {
  const collected: StoredBlob[] = [];
  for await (const blob of blobs) collected.push(blob);
  return collected;
}

function* pieces(bytes: Buffer): Generator<Buffer> {
  for (let start = 0; start < bytes.length; start += 50_001) yield bytes.subarray(start, start + 50_001);
}

function* endlessPieces(): Generator<Buffer> {
  for (;;) yield Buffer.alloc(300);
}

function* brokenPieces(): Generator<Buffer> {
  yield randomBytes(2 * 1024 * 1024);
  throw new Error('connection lost');
}
