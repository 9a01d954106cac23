// A store whose readers tell: bytes that are gone or do not match their name are never used, and their row says so, so
// that no result and no run builds on them until somebody stores them again.
import { Readable } from 'node:stream';
import { DomainError } from '#core/errors.ts';
import { markDamaged, unmarkDamaged } from '#db/blobs.ts';
import type { Database } from '#db/connect.ts';
import type { BlobStore } from './blob-store.ts';

export function markDamage(store: BlobStore, db: Database): BlobStore {
  return {
    ...store,
    get: async (sha256, range) => {
      if (range !== undefined) return await telling(store, db, sha256, () => store.get(sha256, range));
      const stream = await telling(store, db, sha256, () => store.get(sha256));
      const told = Readable.from(tellingChunks(store, db, sha256, stream), {
        objectMode: false,
        highWaterMark: 1024 * 1024,
      });
      // A generator that nobody pulled has no `finally`.
      told.once('close', () => stream.destroy());
      return told;
    },
    copyTo: (sha256, path, options) => telling(store, db, sha256, () => store.copyTo(sha256, path, options)),
  };
}

async function telling<T>(store: BlobStore, db: Database, sha256: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    throw isDamage(error) ? await judge(store, db, sha256, error) : error;
  }
}

async function* tellingChunks(
  store: BlobStore,
  db: Database,
  sha256: string,
  stream: Readable,
): AsyncGenerator<Buffer> {
  try {
    yield* stream as AsyncIterable<Buffer>;
  } catch (error) {
    throw isDamage(error) ? await judge(store, db, sha256, error) : error;
  } finally {
    stream.destroy();
  }
}

function isDamage(error: unknown): error is DomainError {
  return error instanceof DomainError && (error.code === 'blob-corrupt' || error.code === 'blob-missing');
}

/**
 * Marked first and read again afterwards: a put that heals the bytes meanwhile either sees the mark or is seen here.
 * What a second reading finds intact was damaged on its way, which is trouble in the world.
 */
async function judge(store: BlobStore, db: Database, sha256: string, error: DomainError): Promise<Error> {
  if (!(await markDamaged(db, sha256))) return error;
  if (!(await isIntact(store, sha256))) return error;
  await unmarkDamaged(db, sha256);
  return new Error(`Blob ${sha256} did not arrive whole, and is whole in the store. It is read again.`, {
    cause: error,
  });
}

async function isIntact(store: BlobStore, sha256: string): Promise<boolean> {
  try {
    // Read to its end, which is where it is verified.
    for await (const chunk of await store.get(sha256)) void chunk;
    return true;
  } catch (error) {
    if (isDamage(error)) return false;
    throw error;
  }
}
