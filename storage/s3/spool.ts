// A stream is kept on this machine until its digest, which is its name in the bucket, is known.
import { randomUUID } from 'node:crypto';
import { mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { type BlobDigest, type PutOptions, checkExpected, tooLarge } from '#storage/blob-store.ts';
import { writeHashed } from '#storage/bytes.ts';
import { finishOrRemove } from '#storage/disk-layout.ts';

/** A stream up to this size stays in memory. */
export const memoryBytesMax = 1024 * 1024;

/** The whole stream: its bytes when they are few, otherwise a file that belongs to the caller. */
export async function takeIn(
  spoolDir: string,
  stream: Readable,
  options: PutOptions,
): Promise<Buffer | { file: string; digest: BlobDigest }> {
  const sizeBytesMax = options.sizeBytesMax ?? Number.POSITIVE_INFINITY;
  const chunks = (stream as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  const head: Buffer[] = [];
  let sizeBytes = 0;
  try {
    while (sizeBytes <= memoryBytesMax) {
      const { done, value } = await chunks.next();
      if (done === true) return Buffer.concat(head);
      sizeBytes += value.length;
      if (sizeBytes > sizeBytesMax) throw tooLarge(sizeBytesMax);
      head.push(value);
    }
    const file = join(spoolDir, randomUUID());
    const digest = await finishOrRemove(file, async () => {
      const written = await writeSpool(file, withHead(head, chunks), sizeBytesMax);
      checkExpected(written, options);
      return written;
    });
    return { file, digest };
  } finally {
    await chunks.return?.();
  }
}

async function* withHead(head: Buffer[], rest: AsyncIterator<Buffer>): AsyncGenerator<Buffer> {
  for (let chunk = head.shift(); chunk !== undefined; chunk = head.shift()) yield chunk;
  for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value;
}

async function writeSpool(file: string, chunks: AsyncIterable<Buffer>, sizeBytesMax: number): Promise<BlobDigest> {
  const handle = await open(file, 'wx', 0o600);
  try {
    return await writeHashed(chunks, handle, sizeBytesMax);
  } finally {
    await handle.close();
  }
}

export async function openSpool(spoolDir: string): Promise<void> {
  await mkdir(spoolDir, { recursive: true, mode: 0o700 });
}
