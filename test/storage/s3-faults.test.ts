// A server of this suite's own, and a line to it that is cut, silenced and garbled.
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { persevere } from '#activities/persevere.ts';
import { type Guard, startGuard } from '#embedded/guard.ts';
import { type BlobStore, StorageUnavailableError } from '#storage/blob-store.ts';
import { createS3Store, type S3StoreOptions } from '#storage/s3.ts';
import { createBucketOn, type TestBucket } from '../support/s3.ts';
import { type S3Server, s3ServerIn } from '../support/s3-server.ts';
import { until } from '../support/stack.ts';
import { type TcpProxy, tcpProxyTo } from '../support/tcp-proxy.ts';
import { sha256Of } from './blob-store-contract.ts';
import { optionsFor } from './s3-stores.ts';

const mib = 1024 * 1024;
let home: string;
let guard: Guard;
let server: S3Server;
let bucket: TestBucket;
let proxy: TcpProxy;
let options: S3StoreOptions;
/** Over the proxy, and around it. */
let store: BlobStore;
let direct: BlobStore;

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'assay-s3-'));
  guard = await startGuard({ python: process.env.ASSAY_PYTHON ?? 'python3' });
  guard.removeAtEnd(home);
  server = await s3ServerIn(home);
  guard.start(server.service);
  await server.ready();
  bucket = await createBucketOn(server);
  proxy = await tcpProxyTo(server.endpoint);
  options = { ...(await optionsFor(bucket)), silenceMs: 1_000 };
  direct = await createS3Store(options);
  store = await createS3Store({ ...options, endpoint: proxy.endpoint });
});
afterEach(() => proxy.mend());
afterAll(async () => {
  await proxy?.close();
  await guard?.stop();
  await rm(options.spoolDir, { recursive: true, force: true });
});

async function fileOf(bytes: Buffer): Promise<string> {
  const file = join(home, sha256Of(bytes));
  await writeFile(file, bytes);
  return file;
}

/** Nothing but complete blobs can be seen, and nothing invisible stays once it is swept. */
async function expectWhole(): Promise<void> {
  for await (const { sha256 } of direct.list()) {
    expect(sha256Of(await buffer(await direct.get(sha256)))).toBe(sha256);
  }
  await direct.sweep(-1);
  expect(await direct.sweep(-1)).toBe(0);
  expect(await readdir(options.spoolDir)).toEqual([]);
}

describe('while the server is away', () => {
  it('everything says so and nothing is taken for missing', async () => {
    const { sha256 } = await direct.put(Buffer.from('here'));
    proxy.cut();
    const work = [
      () => store.put(Buffer.from('new')),
      () => store.get(sha256),
      () => store.stat(sha256),
      () => store.delete(sha256),
      () => store.copyTo(sha256, join(home, 'copy')),
      () => store.sweep(0),
      () => store.list()[Symbol.asyncIterator]().next(),
    ];
    const outcomes = await Promise.all(work.map((act) => act().catch((error: unknown) => error)));
    for (const outcome of outcomes) expect(outcome).toBeInstanceOf(StorageUnavailableError);
    proxy.mend();
    expect(await store.stat(sha256)).toMatchObject({ sizeBytes: 4 });
    await expectWhole();
  });

  it('a put in parts that is repeated by its caller is stored once the server is back', async () => {
    const bytes = randomBytes(20 * mib);
    const file = await fileOf(bytes);
    proxy.cutAfter('up', 3 * mib);
    const putting = persevere(() => store.put({ file }), 60_000);
    const before = proxy.connections();
    await until(() => proxy.connections() > before + 4);
    proxy.cut();
    await until(() => proxy.connections() > before + 12);
    proxy.mend();
    expect(await putting).toMatchObject({ sha256: sha256Of(bytes) });
    expect(bytes.equals(await buffer(await direct.get(sha256Of(bytes))))).toBe(true);
    await expectWhole();
  });

  it('a bucket that vanishes is no blob that is missing', async () => {
    const other = await createBucketOn(server);
    const its = await createS3Store({ ...options, bucket: other.bucket });
    await rm(other.folder, { recursive: true });
    const sha256 = sha256Of(Buffer.from('gone'));
    for (const act of [() => its.stat(sha256), () => its.get(sha256), () => its.delete(sha256)]) {
      await expect(act()).rejects.toThrow(`There is no bucket "${other.bucket}"`);
    }
    await expect(its.put(Buffer.from('gone'))).rejects.toThrow(`There is no bucket "${other.bucket}"`);
  });
});

describe('a connection that breaks', () => {
  it('in the middle of parts costs these parts again and nothing else', async () => {
    const bytes = randomBytes(20 * mib);
    proxy.cutAfter('up', 5 * mib, 2);
    const { sha256 } = await store.put({ file: await fileOf(bytes) });
    expect(bytes.equals(await buffer(await direct.get(sha256)))).toBe(true);
    await expectWhole();
  });

  it('before the answer to a put that happened is a put that happened', async () => {
    for (const bytes of [randomBytes(1000), randomBytes(9 * mib)]) {
      proxy.cutAfter('down', 0, 1);
      expect(await store.put(bytes.length > mib ? { file: await fileOf(bytes) } : bytes)).toMatchObject({
        sha256: sha256Of(bytes),
      });
      expect(bytes.equals(await buffer(await direct.get(sha256Of(bytes))))).toBe(true);
    }
    await expectWhole();
  });

  it('in the middle of a body is followed by another that brings the rest, and no byte twice', async () => {
    const bytes = randomBytes(18 * mib + 5);
    const { sha256 } = await direct.put({ file: await fileOf(bytes) });
    proxy.cutAfter('down', 3 * mib, 4);
    expect(bytes.equals(await buffer(await store.get(sha256)))).toBe(true);
    proxy.cutAfter('down', 3 * mib, 4);
    const part = await buffer(await store.get(sha256, { start: 1_000, end: 16 * mib }));
    expect(part.equals(bytes.subarray(1_000, 16 * mib + 1))).toBe(true);
    proxy.cutAfter('down', 3 * mib, 6);
    const copy = join(home, 'whole');
    expect(await store.copyTo(sha256, copy)).toMatchObject({ sha256 });
    expect((await stat(copy)).size).toBe(bytes.length);
  });

  it('again and again without a byte ends the read, and leaves no file', async () => {
    const bytes = randomBytes(2 * mib);
    const { sha256 } = await direct.put(bytes);
    proxy.cutAfter('down', 0);
    await expect(store.copyTo(sha256, join(home, 'never'))).rejects.toBeInstanceOf(StorageUnavailableError);
    expect((await readdir(home)).filter((name) => name.startsWith('never'))).toEqual([]);
  });

  it('by saying nothing any more is noticed', async () => {
    const bytes = randomBytes(3 * mib);
    const { sha256 } = await direct.put(bytes);
    proxy.silenceAfter('down', mib, 1);
    expect(bytes.equals(await buffer(await store.get(sha256)))).toBe(true);
    proxy.silenceAfter('up', mib, 1);
    const other = randomBytes(3 * mib);
    await store.put(other);
    expect(other.equals(await buffer(await direct.get(sha256Of(other))))).toBe(true);
  });
});

describe('bytes that change on their way', () => {
  it('are refused by the server on the way there, whether they come as one or in parts', async () => {
    for (const bytes of [randomBytes(2 * mib), randomBytes(9 * mib)]) {
      proxy.garble('up', mib);
      const source = bytes.length > 8 * mib ? { file: await fileOf(bytes) } : bytes;
      await expect(store.put(source)).rejects.toBeInstanceOf(StorageUnavailableError);
      expect(await direct.stat(sha256Of(bytes))).toBeNull();
    }
    await expectWhole();
  });

  it('are refused by us on the way back', async () => {
    const { sha256 } = await direct.put(randomBytes(2 * mib));
    proxy.garble('down', mib, 1);
    await expect(buffer(await store.get(sha256))).rejects.toMatchObject({ code: 'blob-corrupt' });
    proxy.mend();
    expect(sha256Of(await buffer(await store.get(sha256)))).toBe(sha256);
  });
});

/** A tmpfs is the only file system this suite can fill without harm; making one needs the rights of root. */
const canMount = process.platform === 'linux' && process.getuid?.() === 0;

describe.skipIf(!canMount)('a server whose disk is full', () => {
  it('is told in plain words, and takes the same blobs once there is room', async () => {
    const small = await createBucketOn(server);
    await run('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'tmpfs', small.folder]);
    try {
      const its = await createS3Store({ ...options, bucket: small.bucket });
      const filler = await its.put({ file: await fileOf(randomBytes(9 * mib)) });
      for (const bytes of [randomBytes(20 * mib), randomBytes(8 * mib)]) {
        const source = { file: await fileOf(bytes) };
        if (bytes.length < 10 * mib) await its.put(randomBytes(10 * mib));
        await expect(its.put(source)).rejects.toMatchObject({ name: 'StorageFullError', code: 'ENOSPC' });
        expect(await its.stat(sha256Of(bytes))).toBeNull();
      }
      expect(await its.sweep(-1)).toBe(0);
      await its.delete(filler.sha256);
      const fits = randomBytes(8 * mib);
      await its.put({ file: await fileOf(fits) });
      expect(fits.equals(await buffer(await its.get(sha256Of(fits))))).toBe(true);
    } finally {
      await run('umount', [small.folder]);
    }
  });
});

async function run(command: string, args: string[]): Promise<void> {
  const [code] = (await once(spawn(command, args, { stdio: 'inherit' }), 'exit')) as [number];
  if (code !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${code}`);
}

describe('a process that dies', () => {
  const putter = fileURLToPath(new URL('./put-forever-s3.ts', import.meta.url));
  const children: ChildProcess[] = [];
  afterAll(() => children.forEach((child) => child.kill('SIGKILL')));

  it('while it puts leaves complete blobs only, and what can be swept', async () => {
    for (let kill = 0; kill < 3; kill += 1) {
      const child = spawn(process.execPath, [putter, JSON.stringify(options)], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      children.push(child);
      await once(child.stdout as NodeJS.ReadableStream, 'data');
      const folder = join(bucket.folder, '.sgwtmp');
      await until(async () => (await readdir(folder).catch(() => [])).length > 0);
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    await expectWhole();
  });

  it('and is the server: what a put answered is there after its restart, what it did not answer can be put again', async () => {
    const kept = randomBytes(9 * mib);
    await direct.put({ file: await fileOf(kept) });
    const bytes = randomBytes(40 * mib);
    const file = await fileOf(bytes);
    const putting = persevere(() => direct.put({ file }), 60_000);
    const pid = guard.pids().get('s3') ?? 0;
    await until(async () => (await readdir(join(bucket.folder, '.sgwtmp')).catch(() => [])).length > 0);
    process.kill(pid, 'SIGKILL');
    expect(await putting).toMatchObject({ sha256: sha256Of(bytes) });
    for (const [sha256, expected] of [kept, bytes].map((content) => [sha256Of(content), content] as const)) {
      expect(expected.equals(await buffer(await direct.get(sha256)))).toBe(true);
    }
    await expectWhole();
  });
});
