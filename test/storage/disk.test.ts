import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, open, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDiskStore } from '#storage/disk.ts';
import { blobStoreContract, sha256Of } from './blob-store-contract.ts';

const roots: string[] = [];

async function newRoot(): Promise<string> {
  const root = await mkdtemp(join(tmpdir(), 'assay-disk-'));
  roots.push(root);
  return root;
}

async function flipByte(path: string): Promise<void> {
  const handle = await open(path, 'r+');
  const { buffer: byte } = await handle.read(Buffer.alloc(1), 0, 1, 100);
  await handle.write(Buffer.from([byte.readUInt8(0) ^ 1]), 0, 1, 100);
  await handle.close();
}

afterAll(async () => {
  for (const root of roots) await rm(root, { recursive: true, force: true });
});

for (const durability of ['fsync', 'rename-only'] as const) {
  blobStoreContract(`the disk store (${durability})`, async () => {
    const root = await newRoot();
    return {
      store: await createDiskStore({ root, durability }),
      damage: (sha256) => flipByte(join(root, 'objects', sha256.slice(0, 2), sha256)),
      remove: () => rm(root, { recursive: true, force: true }),
    };
  });
}

describe('a disk store whose writer is killed', () => {
  const putter = fileURLToPath(new URL('./put-forever.ts', import.meta.url));
  let child: ChildProcess | undefined;
  afterAll(() => child?.kill('SIGKILL'));

  it('shows complete blobs only, at whatever moment the kill comes', async () => {
    const root = await newRoot();
    await createDiskStore({ root });
    for (let kill = 0; kill < 5; kill++) {
      child = spawn(process.execPath, [putter, root], { stdio: ['ignore', 'pipe', 'inherit'] });
      await once(child.stdout as NodeJS.ReadableStream, 'data');
      child.kill('SIGKILL');
      await once(child, 'exit');
      const store = await createDiskStore({ root });
      for await (const { sha256 } of store.list()) {
        expect(sha256Of(await buffer(await store.get(sha256)))).toBe(sha256);
      }
    }
    const store = await createDiskStore({ root });
    await store.sweep(-1);
    expect(await readdir(join(root, 'incoming'))).toEqual([]);
  });
});

/** A tmpfs is the only file system this suite can fill without harm; making one needs the rights of root. */
const canMount = process.platform === 'linux' && process.getuid?.() === 0;

describe.skipIf(!canMount)('a disk store on a full disk', () => {
  let mounted: string;
  beforeAll(async () => {
    mounted = await newRoot();
    await run('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', mounted]);
  });
  afterAll(async () => {
    await run('umount', [mounted]);
  });

  it('says so, leaves nothing behind and goes on once there is room', async () => {
    const store = await createDiskStore({ root: mounted });
    const small = await store.put(randomBytes(2 * 1024 * 1024));
    const large = randomBytes(6 * 1024 * 1024);
    await expect(store.put(large)).rejects.toMatchObject({ name: 'StorageFullError', code: 'ENOSPC' });
    expect(await store.stat(sha256Of(large))).toBeNull();
    expect(await readdir(join(mounted, 'incoming'))).toEqual([]);
    await store.delete(small.sha256);
    const fits = await store.put(randomBytes(3 * 1024 * 1024));
    expect(await store.stat(fits.sha256)).toMatchObject({ sizeBytes: 3 * 1024 * 1024 });
  });
});

async function run(command: string, args: string[]): Promise<void> {
  const [code] = (await once(spawn(command, args, { stdio: 'inherit' }), 'exit')) as [number];
  if (code !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${code}`);
}
