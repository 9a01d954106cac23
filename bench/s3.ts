// Blob put and get in S3, against what the server itself allows a client that hashes nothing.
import { createHash, randomFillSync } from 'node:crypto';
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { startGuard } from '#embedded/guard.ts';
import type { BlobStore } from '#storage/blob-store.ts';
import { createS3Store } from '#storage/s3.ts';
import { createBucketOn } from '#test/support/s3.ts';
import { s3ServerIn } from '#test/support/s3-server.ts';
import { type Comparison, interleave, printComparisons, printMachine, timeMs, withTemporaryDir } from './report.ts';
import { type RawClient, rawClient } from './s3/raw-client.ts';

const mib = 1024 ** 2;
const largeMib = Number(process.env['BENCH_LARGE_MIB'] ?? 1_024);
const smallCount = Number(process.env['BENCH_SMALL_COUNT'] ?? 10_000);
const smallBytes = 100 * 1024;
const pieceMib = 8;
const rounds = Number(process.env['BENCH_ROUNDS'] ?? 3);
/** As many as a stage's outputs are stored with at once. */
const writersMax = 8;

interface Setting {
  dir: string;
  store: BlobStore;
  raw: RawClient;
  bucket: string;
}

async function inParallel(count: number, atOnce: number, task: (n: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < count) {
      next += 1;
      await task(next - 1);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}

async function drain(store: BlobStore, sha256: string): Promise<void> {
  for await (const chunk of await store.get(sha256)) void chunk;
}

/** New content each time, so that nothing is there already. */
async function writeSource(path: string): Promise<string> {
  const hash = createHash('sha256');
  const piece = randomFillSync(Buffer.allocUnsafe(pieceMib * mib));
  const handle = await open(path, 'w');
  for (let n = 0; n < largeMib / pieceMib; n += 1) {
    piece.writeUInt32LE(n, 0);
    await handle.write(piece);
    hash.update(piece);
  }
  await handle.close();
  return hash.digest('hex');
}

async function putInParts(raw: RawClient, path: string, piece: Buffer, atOnce: number): Promise<void> {
  const begun = await raw.post(`${path}?uploads=`, '');
  const uploadId = /<UploadId>(.*?)<\/UploadId>/.exec(begun)?.[1] ?? '';
  const etags: string[] = [];
  await inParallel(largeMib / pieceMib, atOnce, async (n) => {
    etags[n] = await raw.put(`${path}?partNumber=${n + 1}&uploadId=${uploadId}`, [piece]);
  });
  const parts = etags.map((etag, n) => `<Part><PartNumber>${n + 1}</PartNumber><ETag>${etag}</ETag></Part>`).join('');
  await raw.post(`${path}?uploadId=${uploadId}`, `<CompleteMultipartUpload>${parts}</CompleteMultipartUpload>`);
}

async function large({ dir, store, raw, bucket }: Setting): Promise<Comparison[]> {
  const [source, copy] = [join(dir, 'source'), join(dir, 'copy')];
  const piece = randomFillSync(Buffer.allocUnsafe(pieceMib * mib));
  const probe = `/${bucket}/probe`;
  const speed = async (task: () => Promise<unknown>) => (largeMib / (await timeMs(task))) * 1_000;
  let sha256 = '';
  const put = async (announce: boolean) => {
    if (sha256 !== '') await store.delete(sha256);
    sha256 = await writeSource(source);
    return speed(() => store.put({ file: source }, announce ? { sha256 } : {}));
  };
  const seen = await interleave(rounds, {
    whole: () =>
      speed(() =>
        raw.put(
          probe,
          Array.from({ length: largeMib / pieceMib }, () => piece),
        ),
      ),
    parts: () => speed(() => putInParts(raw, `${probe}-parts`, piece, 4)),
    put: () => put(false),
    announced: () => put(true),
    read: () => speed(() => raw.get(probe)),
    get: () => speed(() => drain(store, sha256)),
    copy: () => speed(() => store.copyTo(sha256, copy)),
  });
  const unit = 'MiB/s';
  const inWhole = seen.whole > seen.parts;
  const allowed = { name: inWhole ? 'one raw PUT' : 'raw parts, 4 at once', value: Math.max(seen.whole, seen.parts) };
  const readable = { name: 'one raw GET', value: seen.read };
  const what = `${largeMib} MiB`;
  return [
    { what: `put ${what}`, ours: seen.put, unit, against: { name: 'raw parts, 4 at once', value: seen.parts } },
    { what: `put ${what}`, ours: seen.put, unit, against: allowed, aim: '≥ 0.9' },
    { what: `put ${what}, digest announced`, ours: seen.announced, unit, against: allowed, aim: '≥ 0.9' },
    { what: `get ${what}`, ours: seen.get, unit, against: readable, aim: '≥ 0.9' },
    { what: `copy ${what} to a file`, ours: seen.copy, unit, against: readable },
  ];
}

async function small({ store, raw, bucket }: Setting): Promise<Comparison[]> {
  const bytes = randomFillSync(Buffer.allocUnsafe(smallBytes));
  const unique = (n: number, turn: number, salt: number) => {
    const copy = Buffer.from(bytes);
    copy.writeUInt32LE(n, 0);
    copy.writeUInt32LE(turn * 2 + salt, 4);
    return copy;
  };
  const names: string[] = [];
  const probe = (n: number, turn: number) => `/${bucket}/small/${n % 256}/${turn}-${n}`;
  const speed = async (task: (n: number) => Promise<unknown>) =>
    (smallCount / (await timeMs(() => inParallel(smallCount, writersMax, task)))) * 1_000;
  const seen = await interleave(rounds, {
    write: (turn) => speed((n) => raw.put(probe(n, turn), [unique(n, turn, 0)])),
    put: (turn) =>
      speed(async (n) => {
        names[n] = (await store.put(unique(n, turn, 1))).sha256;
      }),
    read: (turn) => speed((n) => raw.get(probe(n, turn))),
    get: () => speed((n) => drain(store, names[n] ?? '')),
  });
  const unit = 'blobs/s';
  const what = `${smallCount} × 100 KiB`;
  return [
    { what: `put ${what}`, ours: seen.put, unit, against: { name: 'raw PUT', value: seen.write }, aim: '≥ 0.7' },
    { what: `get ${what}`, ours: seen.get, unit, against: { name: 'raw GET', value: seen.read }, aim: '≥ 0.7' },
  ];
}

await withTemporaryDir(async (dir) => {
  printMachine();
  const guard = await startGuard({ python: 'python3' });
  const server = await s3ServerIn(dir);
  guard.start(server.service);
  await server.ready();
  const raw = rawClient(server, writersMax);
  try {
    const bucket = await createBucketOn(server);
    const options = { ...bucket, publicEndpoint: null, prefix: '', pathStyle: true, extraCa: null };
    const store = await createS3Store({ ...options, spoolDir: join(dir, 'spool') });
    const setting = { dir, store, raw, bucket: bucket.bucket };
    printComparisons('small blobs in S3', await small(setting));
    printComparisons('blobs in S3', await large(setting));
    await rm(join(dir, 'source'), { force: true });
  } finally {
    raw.close();
    await guard.stop();
  }
});
process.exit(0);
