// Stores one file as it was seen, or nothing: bytes of a file that changes meanwhile are thrown away.
import type { FileHandle } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { setTimeout } from 'node:timers/promises';
import { DomainError } from '#core/errors.ts';
import type { Database } from '#db/connect.ts';
import type { BlobStore } from '#storage/blob-store.ts';
import { keepBlob } from '#storage/keep.ts';
import { openWritten } from '#activities/stage/written-files.ts';
import { type SeenFile, stampOf } from './look.ts';

/** A chunk is hashed in well under a millisecond, so that nothing else of the worker waits for it. */
const chunkBytes = 256 * 1024;
/** While the stage runs: what it and its disk need is left to it. */
const bytesPerSecond = 256 * 2 ** 20;

export interface Pace {
  /** False once nobody is disturbed any more. */
  isSlow(): boolean;
  /** Aborts when there is no more time. */
  signal: AbortSignal;
}

class FileChanged extends Error {}

/** Null when the file is not any more what was seen. `path` is below `folder`, which is the worker's own. */
export async function storeFile(
  deps: { db: Database; store: BlobStore },
  folder: string,
  path: string,
  seen: SeenFile,
  pace: Pace,
): Promise<string | null> {
  let handle: FileHandle;
  try {
    handle = await openWritten(folder, path);
  } catch (error) {
    if (error instanceof DomainError || (error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
  try {
    const bytes = Readable.from(unchangedBytes(handle, seen, pace), { objectMode: false });
    return (await keepBlob(deps.db, deps.store, bytes)).sha256;
  } catch (error) {
    if (error instanceof FileChanged) return null;
    throw error;
  } finally {
    await handle.close();
  }
}

async function* unchangedBytes(handle: FileHandle, seen: SeenFile, pace: Pace): AsyncGenerator<Buffer> {
  const startedAt = performance.now();
  await requireUnchanged(handle, seen);
  for (let at = 0; at < seen.sizeBytes; ) {
    pace.signal.throwIfAborted();
    const buffer = Buffer.allocUnsafe(Math.min(chunkBytes, seen.sizeBytes - at));
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, at);
    if (bytesRead === 0) throw new FileChanged();
    at += bytesRead;
    yield buffer.subarray(0, bytesRead);
    const aheadMs = startedAt + (at / bytesPerSecond) * 1000 - performance.now();
    if (aheadMs > 5 && pace.isSlow()) await setTimeout(aheadMs);
  }
  await requireUnchanged(handle, seen);
}

async function requireUnchanged(handle: FileHandle, seen: SeenFile): Promise<void> {
  if (stampOf(await handle.stat({ bigint: true })) !== seen.stamp) throw new FileChanged();
}
