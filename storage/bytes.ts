// Reading, hashing and writing run at the same time: while one chunk is hashed the next is read and the one before written.
import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { type BlobDigest, tooLarge } from './blob-store.ts';

/** Large enough that a system call costs nothing beside it. */
const chunkBytes = 1024 * 1024;
/** Chunks asked for before they are needed, and chunks not written yet: on a busy machine every answer comes late. */
const readsAhead = 4;
const writesBehind = 4;
/** Enough that no buffer is read into while it is still hashed or written. */
const ringLength = readsAhead + writesBehind + 2;

/** Writes the chunks to the handle, one after the other. The digest is of exactly what was written. */
export async function writeHashed(
  chunks: AsyncIterable<Buffer>,
  handle: FileHandle,
  sizeBytesMax: number = Number.POSITIVE_INFINITY,
): Promise<BlobDigest> {
  const hash = createHash('sha256');
  let sizeBytes = 0;
  let written = 0;
  let batch: Buffer[] = [];
  // They settle with the error instead of rejecting, because nobody waits for them while the next chunk is on its way.
  const writing: Array<Promise<Error | null>> = [];
  const flush = () => {
    writing.push(settled(writeAll(handle, batch, written)));
    written = sizeBytes;
    batch = [];
  };
  try {
    for await (const chunk of chunks) {
      sizeBytes += chunk.length;
      if (sizeBytes > sizeBytesMax) throw tooLarge(sizeBytesMax);
      batch.push(chunk);
      if (sizeBytes - written >= chunkBytes) flush();
      hash.update(chunk);
      if (writing.length > writesBehind) throwIf((await writing.shift()) ?? null);
    }
    flush();
  } finally {
    // The caller closes the handle next, which must not happen under a write.
    for (const error of await Promise.all(writing.splice(0))) throwIf(error);
  }
  return { sha256: hash.digest('hex'), sizeBytes };
}

/**
 * A file's bytes, as many as it has now, read ahead of need. With `reuse` the same few buffers come again and again: a
 * chunk is valid for the next four, which holds for `writeHashed` and does not for the reader of a stream.
 */
export async function* readChunks(handle: FileHandle, reuse: boolean): AsyncGenerator<Buffer> {
  const { size } = await handle.stat();
  const ring: Buffer[] = [];
  const reading: Array<ReturnType<typeof settledRead>> = [];
  let asked = 0;
  const ask = (index: number) => {
    if (asked >= size) return;
    const length = Math.min(chunkBytes, size - asked);
    const into = reuse ? (ring[index % ringLength] ??= newBuffer(length)) : newBuffer(length);
    reading.push(settledRead(handle, into.subarray(0, length), asked));
    asked += length;
  };
  for (let index = 0; index < readsAhead; index++) ask(index);
  try {
    for (let index = readsAhead; ; index++) {
      const { error, chunk } = (await reading.shift()) ?? nothing;
      throwIf(error);
      if (chunk.length === 0) return;
      ask(index);
      yield chunk;
    }
  } finally {
    // The handle must not be closed under a read that is still on its way.
    await Promise.all(reading);
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
export async function writeAll(handle: FileHandle, buffers: readonly Buffer[], position = 0): Promise<void> {
  let rest = buffers.filter((buffer) => buffer.length > 0);
  let at = position;
  while (rest.length > 0) {
    const { bytesWritten } = await handle.writev(rest, at);
    at += bytesWritten;
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
  return buffers.slice(index).map((buffer, offset) => (offset === 0 ? buffer.subarray(left) : buffer));
}

interface Read {
  error: Error | null;
  chunk: Buffer;
}

const nothing: Read = { error: null, chunk: Buffer.alloc(0) };

/** Fills the buffer, or as much of it as a file that became shorter still has. */
async function settledRead(handle: FileHandle, into: Buffer, position: number): Promise<Read> {
  try {
    let filled = 0;
    while (filled < into.length) {
      const { bytesRead } = await handle.read(into, filled, into.length - filled, position + filled);
      if (bytesRead === 0) break;
      filled += bytesRead;
    }
    return { error: null, chunk: into.subarray(0, filled) };
  } catch (error) {
    return { error: asError(error), chunk: into };
  }
}

function newBuffer(length: number): Buffer {
  return Buffer.allocUnsafeSlow(length);
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
