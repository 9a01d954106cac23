// Blob put and get on disk, against the same bytes written and read by nothing but the operating system.
import { execFileSync } from 'node:child_process';
import { createHash, randomFillSync } from 'node:crypto';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { BlobStore } from '#storage/blob-store.ts';
import { createDiskStore } from '#storage/disk.ts';
import { type Comparison, interleave, printComparisons, printMachine, timeMs, withTemporaryDir } from './report.ts';

const mib = 1024 ** 2;
const largeMib = Number(process.env['BENCH_LARGE_MIB'] ?? 1_024);
const smallCount = Number(process.env['BENCH_SMALL_COUNT'] ?? 10_000);
const smallBytes = 100 * 1024;
const rounds = 3;
const writersMax = 8;

// Incompressible and different each time, so that nothing is deduplicated.
function pieces(sizeBytes: number): Buffer[] {
  return Array.from({ length: Math.ceil(sizeBytes / mib) }, () => randomFillSync(Buffer.allocUnsafe(mib)));
}

async function writeFile(path: string, chunks: readonly Buffer[]): Promise<void> {
  const handle = await open(path, 'w');
  for (const chunk of chunks) await handle.write(chunk);
  await handle.datasync();
  await handle.close();
}

const forget = `
import os, sys
for path in sys.stdin.read().split("\\n"):
    fd = os.open(path, os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)
`;

/** The kernel forgets the files' pages, so that the next read comes from the disk. macOS has no such call. */
function dropCaches(paths: readonly string[]): void {
  if (process.platform === 'linux') execFileSync('python3', ['-c', forget], { input: paths.join('\n') });
}

async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, 'r');
  await handle.sync();
  await handle.close();
}

async function readFile(path: string): Promise<void> {
  const handle = await open(path, 'r');
  const buffer = Buffer.allocUnsafe(mib);
  while ((await handle.read(buffer, 0, mib)).bytesRead > 0);
  await handle.close();
}

async function drain(store: BlobStore, sha256: string): Promise<void> {
  for await (const chunk of await store.get(sha256)) void chunk;
}

function objectOf(root: string, sha256: string): string {
  return join(root, 'objects', sha256.slice(0, 2), sha256);
}

async function large(dir: string, store: BlobStore): Promise<Comparison[]> {
  const [source, probe] = [join(dir, 'source'), join(dir, 'probe')];
  let sha256 = '';
  const speed = async (task: () => Promise<unknown>) => (largeMib / (await timeMs(task))) * 1_000;
  const put = async () => {
    const chunks = pieces(largeMib * mib);
    await writeFile(source, chunks);
    // The probe's file gives its pages back each time; without this only the store would pay for new ones.
    if (sha256 !== '') await store.delete(sha256);
    return speed(async () => ({ sha256 } = await store.put({ file: source })));
  };
  const disk = async () => {
    const chunks = pieces(largeMib * mib);
    return speed(() => writeFile(probe, chunks));
  };
  const hash = async () => {
    const chunk = randomFillSync(Buffer.allocUnsafe(mib));
    return speed(async () => {
      const sha = createHash('sha256');
      for (let n = 0; n < largeMib; n += 1) sha.update(chunk);
      sha.digest();
    });
  };
  const readCold = async () => {
    dropCaches([probe]);
    return speed(() => readFile(probe));
  };
  const getCold = async () => {
    dropCaches([objectOf(join(dir, 'store'), sha256)]);
    return speed(() => drain(store, sha256));
  };
  const seen = await interleave(rounds, { disk, put, hash, readCold, getCold });
  const unit = 'MiB/s';
  const putLimit = { name: 'write + fdatasync', value: seen.disk };
  const getLimit = { name: 'read, cache dropped', value: seen.readCold };
  return [
    { what: `put ${largeMib} MiB`, ours: seen.put, unit, against: putLimit, aim: '≥ 0.9' },
    { what: `put ${largeMib} MiB`, ours: seen.put, unit, against: { name: 'sha256, one core', value: seen.hash } },
    { what: `get ${largeMib} MiB`, ours: seen.getCold, unit, against: getLimit, aim: '≥ 0.9' },
    { what: `get ${largeMib} MiB`, ours: seen.getCold, unit, against: { name: 'sha256, one core', value: seen.hash } },
  ];
}

async function inParallel(count: number, task: (n: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < count) {
      next += 1;
      await task(next - 1);
    }
  };
  await Promise.all(Array.from({ length: writersMax }, worker));
}

function smallPath(dir: string, n: number): string {
  return join(dir, `${n % 256}`, `${n}`);
}

// What durability costs without us: the bytes on disk, and then the name.
async function writeSmall(dir: string, n: number, bytes: Buffer): Promise<void> {
  const path = smallPath(dir, n);
  await writeFile(`${path}.new`, [bytes]);
  await rename(`${path}.new`, path);
  await syncDirectory(dirname(path));
}

async function small(dir: string, store: BlobStore): Promise<Comparison[]> {
  const probe = join(dir, 'small');
  for (let n = 0; n < 256; n += 1) await mkdir(join(probe, `${n}`), { recursive: true });
  const bytes = randomFillSync(Buffer.allocUnsafe(smallBytes));
  const unique = (n: number, turn: number, salt: number) => {
    const copy = Buffer.from(bytes);
    copy.writeUInt32LE(n, 0);
    copy.writeUInt32LE(turn * 2 + salt, 4);
    return copy;
  };
  const names: string[] = [];
  const speed = async (task: () => Promise<unknown>) => (smallCount / (await timeMs(task))) * 1_000;
  const seen = await interleave(rounds, {
    disk: (turn) => speed(() => inParallel(smallCount, (n) => writeSmall(probe, n, unique(n, turn, 0)))),
    put: async (turn) => {
      await inParallel(names.length, (n) => store.delete(names[n] ?? ''));
      return speed(() =>
        inParallel(smallCount, async (n) => {
          names[n] = (await store.put(unique(n, turn, 1))).sha256;
        }),
      );
    },
    read: () => {
      dropCaches(Array.from({ length: smallCount }, (_, n) => smallPath(probe, n)));
      return speed(() => inParallel(smallCount, (n) => readFile(smallPath(probe, n))));
    },
    get: () => {
      dropCaches(names.map((name) => objectOf(join(dir, 'store'), name)));
      return speed(() => inParallel(smallCount, (n) => drain(store, names[n] ?? '')));
    },
  });
  const unit = 'blobs/s';
  const what = `${smallCount} × 100 KiB`;
  return [
    {
      what: `put ${what}`,
      ours: seen.put,
      unit,
      against: { name: 'write, sync, rename, sync', value: seen.disk },
      aim: '≥ 0.9',
    },
    {
      what: `get ${what}`,
      ours: seen.get,
      unit,
      against: { name: 'read, cache dropped', value: seen.read },
      aim: '≥ 0.9',
    },
  ];
}

await withTemporaryDir(async (dir) => {
  printMachine();
  const store = await createDiskStore({ root: join(dir, 'store') });
  printComparisons('blobs on disk', await large(dir, store));
  await rm(join(dir, 'source'), { force: true });
  printComparisons('small blobs on disk', await small(dir, store));
});
