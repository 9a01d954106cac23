// A blob as a file: a large one comes in ranges side by side, which are hashed and written in their order.
import { randomUUID } from 'node:crypto';
import { chmod, open, rename } from 'node:fs/promises';
import { type BlobDigest, blobCorrupt } from '#storage/blob-store.ts';
import { writeHashed } from '#storage/bytes.ts';
import { finishOrRemove } from '#storage/disk-layout.ts';
import type { Bucket } from './bucket.ts';
import { bodyChunks, openBody } from './read.ts';

const rangeBytes = 8 * 1024 * 1024;
const rangesAtOnce = 4;
/** What is given to the hash and the disk at once. */
const sliceBytes = 1024 * 1024;

export async function copyFromBucket(bucket: Bucket, sha256: string, path: string, mode: number): Promise<BlobDigest> {
  // The first range says how large the whole is.
  const first = await openBody(bucket, sha256, { start: 0, end: rangeBytes - 1 });
  const partial = `${path}.${randomUUID()}.partial`;
  try {
    return await finishOrRemove(partial, async () => {
      const handle = await open(partial, 'wx', 0o600);
      let digest: BlobDigest;
      try {
        digest = await writeHashed(first === null ? noChunks() : allChunks(bucket, sha256, first), handle);
      } finally {
        await handle.close();
      }
      if (digest.sha256 !== sha256) throw blobCorrupt(sha256, digest.sha256);
      await chmod(partial, mode);
      await rename(partial, path);
      return digest;
    });
  } finally {
    first?.stream.destroy();
  }
}

type Body = NonNullable<Awaited<ReturnType<typeof openBody>>>;

async function* noChunks(): AsyncGenerator<Buffer> {}

async function* allChunks(bucket: Bucket, sha256: string, first: Body): AsyncGenerator<Buffer> {
  const ranges: Array<Promise<Range>> = [];
  let asked = first.length;
  const ask = () => {
    if (asked >= first.sizeBytes) return;
    const start = asked;
    asked = Math.min(start + rangeBytes, first.sizeBytes);
    ranges.push(fetchRange(bucket, sha256, start, asked - 1));
  };
  for (let n = 1; n < rangesAtOnce; n += 1) ask();
  try {
    yield* bodyChunks(bucket, sha256, first);
    for (let range = ranges.shift(); range !== undefined; range = ranges.shift()) {
      ask();
      const { bytes, error, giveBack } = await range;
      try {
        if (error !== null) throw error;
        for (let at = 0; at < bytes.length; at += sliceBytes) yield bytes.subarray(at, at + sliceBytes);
      } finally {
        giveBack();
      }
    }
  } finally {
    for (const { giveBack } of await Promise.all(ranges)) giveBack();
  }
}

/** Settles with the error instead of rejecting, because nobody waits for it while an earlier range is written. */
interface Range {
  bytes: Buffer;
  error: unknown;
  giveBack: () => void;
}

async function fetchRange(bucket: Bucket, sha256: string, start: number, end: number): Promise<Range> {
  const giveBack = await bucket.memory.take(end - start + 1);
  const bytes = Buffer.allocUnsafeSlow(end - start + 1);
  try {
    const body = await openBody(bucket, sha256, { start, end });
    let filled = 0;
    if (body !== null) {
      for await (const chunk of bodyChunks(bucket, sha256, body)) filled += chunk.copy(bytes, filled);
    }
    if (filled < bytes.length) throw new Error(`blob ${sha256} has become shorter while it was read`);
    return { bytes, error: null, giveBack };
  } catch (error) {
    return { bytes, error, giveBack };
  }
}
