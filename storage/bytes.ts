// Reading, hashing and writing run at the same time: while one chunk is hashed the next is read and the one before written.
import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { type BlobDigest, tooLarge } from './blob-store.ts';

/** Large enough that a system call costs nothing beside it. */
const chunkBytes = 1024 * 1024;
/** One chunk being read, one hashed, one written, and one to spare. */
const ringLength = 4;

/** Writes the chunks to the handle. The digest is of exactly what was written. */
export async function writeHashed(
  chunks: AsyncIterable<Buffer>,
  handle: FileHandle,
  sizeBytesMax: number = Number.POSITIVE_INFINITY,
): Promise<BlobDigest> {
  const hash = createHash('sha256');
  let sizeBytes = 0;
  let batch: Buffer[] = [];
  let batchBytes = 0;
  // Settles with the error instead of rejecting, because nobody waits for it while the next chunk is on its way.
  let writing: Promise<Error | null> = Promise.resolve(null);
  try {
    for await (const chunk of chunks) {
      sizeBytes += chunk.length;
      if (sizeBytes > sizeBytesMax) throw tooLarge(sizeBytesMax);
      batch.push(chunk);
      batchBytes += chunk.length;
      if (batchBytes >= chunkBytes) {
        throwIf(await writing);
        writing = settled(writeAll(handle, batch));
        batch = [];
        batchBytes = 0;
      }
      hash.update(chunk);
    }
  } finally {
    // The caller closes the handle next, which must not happen under a write.
    await writing;
  }
  throwIf(await writing);
  await writeAll(handle, batch);
  return { sha256: hash.digest('hex'), sizeBytes };
}

/**
 * A file's bytes, read one chunk ahead. With `reuse` the same few buffers come again and again: a chunk is valid until
 * the second one after it is asked for, which holds for `writeHashed` and does not for the reader of a stream.
 */
export async function* readChunks(handle: FileHandle, reuse: boolean): AsyncGenerator<Buffer> {
  const ring: Buffer[] = [];
  const buffer = (index: number) => (reuse ? (ring[index % ringLength] ??= newChunk()) : newChunk());
  let reading = settledRead(handle, buffer(0));
  for (let index = 1; ; index++) {
    const { error, chunk } = await reading;
    throwIf(error);
    if (chunk.length === 0) return;
    reading = settledRead(handle, buffer(index));
    try {
      yield chunk;
    } finally {
      // The handle must not be closed under a read that is still on its way.
      await reading;
    }
  }
}

/** The digest of a file as it is now. */
export async function hashFile(path: string): Promise<BlobDigest> {
  const handle = await open(path, 'r');
  try {
    const hash = createHash('sha256');
    let sizeBytes = 0;
    for await (const chunk of readChunks(handle, true)) {
      hash.update(chunk);
      sizeBytes += chunk.length;
    }
    return { sha256: hash.digest('hex'), sizeBytes };
  } finally {
    await handle.close();
  }
}

export function hashBytes(bytes: Buffer): BlobDigest {
  return { sha256: createHash('sha256').update(bytes).digest('hex'), sizeBytes: bytes.length };
}

/** A file system may take fewer bytes than it was offered; the rest is offered again. */
export async function writeAll(handle: FileHandle, buffers: readonly Buffer[]): Promise<void> {
  let rest = buffers.filter((buffer) => buffer.length > 0);
  while (rest.length > 0) {
    const { bytesWritten } = await handle.writev(rest);
    rest = withoutFirst(rest, bytesWritten);
  }
}

function withoutFirst(buffers: Buffer[], bytes: number): Buffer[] {
  let left = bytes;
  const index = buffers.findIndex((buffer) => {
    if (left < buffer.length) return true;
    left -= buffer.length;
    return false;
  });
  if (index === -1) return [];
  return buffers.slice(index).map((buffer, position) => (position === 0 ? buffer.subarray(left) : buffer));
}

function newChunk(): Buffer {
  return Buffer.allocUnsafeSlow(chunkBytes);
}

async function settledRead(handle: FileHandle, into: Buffer) {
  try {
    const { bytesRead } = await handle.read(into, 0, into.length, null);
    return { error: null, chunk: into.subarray(0, bytesRead) };
  } catch (error) {
    return { error: asError(error), chunk: into };
  }
}

function settled(promise: Promise<void>): Promise<Error | null> {
  return promise.then(() => null, asError);
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

function throwIf(error: Error | null): void {
  if (error !== null) throw error;
}
