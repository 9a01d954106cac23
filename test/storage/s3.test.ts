import { rm, truncate, writeFile } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { BlobStore } from '#storage/blob-store.ts';
import { createS3Store } from '#storage/s3.ts';
import { createTestBucket, type TestBucket } from '../support/s3.ts';
import { blobStoreContract } from './blob-store-contract.ts';
import { flipByte, objectFile, optionsFor } from './s3-stores.ts';

blobStoreContract('the S3 store', async () => {
  const bucket = await createTestBucket();
  const options = await optionsFor(bucket);
  return {
    store: await createS3Store(options),
    damage: (sha256) => flipByte(objectFile(bucket, sha256)),
    remove: () => rm(options.spoolDir, { recursive: true, force: true }),
  };
});

describe('a bucket that can not be used is refused at the start, in one sentence that says what to do', () => {
  let bucket: TestBucket;
  beforeAll(async () => {
    bucket = await createTestBucket();
  });
  const opening = async (change: object) => createS3Store({ ...(await optionsFor(bucket)), ...change });

  it('because it is not there', async () => {
    await expect(opening({ bucket: 'not-there' })).rejects.toThrow(
      `There is no bucket "not-there" at ${bucket.endpoint}. Create it, or correct ASSAY_S3_BUCKET.`,
    );
  });

  it('because the key is unknown or its secret is wrong, without showing either', async () => {
    for (const change of [{ accessKeyId: 'nobody' }, { secretAccessKey: 'hunter2-hunter2' }]) {
      const refusal = await opening({ credentials: { ...bucket.credentials, ...change } }).catch((e: unknown) => e);
      expect(String(refusal)).toMatch(/does not know these credentials .*Correct ASSAY_S3_ACCESS_KEY_ID/);
      expect(String(refusal)).not.toMatch(/nobody|hunter2/);
    }
  });

  it('because nobody answers there', async () => {
    await expect(opening({ endpoint: 'http://127.0.0.1:9' })).rejects.toThrow(
      /does not answer \(ECONNREFUSED\)\. See that it runs and that ASSAY_S3_ENDPOINT is right/,
    );
  });
});

describe('the S3 store', () => {
  let bucket: TestBucket;
  let store: BlobStore;
  let spoolDir: string;
  beforeAll(async () => {
    bucket = await createTestBucket();
    const options = await optionsFor(bucket);
    spoolDir = options.spoolDir;
    store = await createS3Store(options);
  });
  afterAll(() => rm(spoolDir, { recursive: true, force: true }));

  it('heals a large object that was damaged or cut short, whether the digest is announced or not', async () => {
    const file = `${spoolDir}-large`;
    const bytes = randomBytes(17 * 1024 * 1024);
    await writeFile(file, bytes);
    const { sha256 } = await store.put({ file });
    for (const options of [{}, { sha256 }]) {
      for (const harm of [flipByte, (path: string) => truncate(path, 5_000_000)]) {
        await harm(objectFile(bucket, sha256));
        await expect(buffer(await store.get(sha256))).rejects.toMatchObject({ code: 'blob-corrupt' });
        await expect(store.copyTo(sha256, `${file}-copy`)).rejects.toMatchObject({ code: 'blob-corrupt' });
        await store.put({ file }, options);
        expect(bytes.equals(await buffer(await store.get(sha256)))).toBe(true);
      }
    }
    await rm(file);
  });

  it('refuses a large file that is not what was announced, and keeps nothing of it', async () => {
    const file = `${spoolDir}-other`;
    await writeFile(file, randomBytes(17 * 1024 * 1024));
    const announced = 'a'.repeat(64);
    await expect(store.put({ file }, { sha256: announced })).rejects.toMatchObject({ code: 'blob-corrupt' });
    expect(await store.stat(announced)).toBeNull();
    expect(await store.sweep(-1)).toBe(0);
    await rm(file);
  });

  it('stores a large blob that was deleted between staging and commit', async () => {
    const file = `${spoolDir}-again`;
    const bytes = randomBytes(9 * 1024 * 1024);
    await writeFile(file, bytes);
    const { sha256 } = await store.put({ file });
    const staged = await store.stage({ file });
    await store.delete(sha256);
    await staged.commit();
    expect(bytes.equals(await buffer(await store.get(sha256)))).toBe(true);
    await rm(file);
  });

  it('lists more blobs than a page of the server holds', async () => {
    const names = new Set<string>();
    for (let n = 0; n < 1_100; n += 50) {
      const puts = Array.from({ length: 50 }, (_, index) => store.put(Buffer.from(`blob ${n + index}`)));
      for (const { sha256 } of await Promise.all(puts)) names.add(sha256);
    }
    for await (const { sha256 } of store.list()) names.delete(sha256);
    expect(names.size).toBe(0);
  });

  it('links to a download that nobody can show in a browser, and that expires', async () => {
    const { sha256 } = await store.put(Buffer.from('<script>alert(1)</script>'));
    const disposition = 'attachment; filename="page.html"';
    const link = await store.link(sha256, { disposition, mediaType: 'application/octet-stream', expiresInMs: 60_000 });
    const answer = await fetch(link ?? '');
    expect(await answer.text()).toBe('<script>alert(1)</script>');
    expect(answer.headers.get('content-disposition')).toBe(disposition);
    expect(answer.headers.get('content-type')).toBe('application/octet-stream');
    const changed = (link ?? '').replace('attachment', 'inline');
    expect((await fetch(changed)).status).toBe(403);
    expect(link).toContain('X-Amz-Expires=60');
  });
});
