// The one way bytes become something a row may name: touch the blob's row, store the bytes, write the row.
import type { Readable } from 'node:stream';
import { isLiveBlob, touchBlob, upsertLiveBlob, withBlobLock } from '#db/blobs.ts';
import type { Database } from '#db/connect.ts';
import {
  type BlobDigest,
  type BlobSource,
  type BlobStore,
  type PutOptions,
  type StagedBlob,
  tooLarge,
} from './blob-store.ts';

/**
 * Stores the bytes and their row, and protects them from collection for the next days, in which the caller writes its
 * reference. Bytes that are stored already cost a touch of their row.
 */
export async function keepBlob(
  db: Database,
  store: BlobStore,
  source: BlobSource,
  options: PutOptions = {},
): Promise<BlobDigest> {
  const staged = await store.stage(source, options);
  try {
    return await keepStaged(db, staged);
  } catch (error) {
    await staged.discard();
    throw error;
  }
}

async function keepStaged(db: Database, staged: StagedBlob): Promise<BlobDigest> {
  const digest = { sha256: staged.sha256, sizeBytes: staged.sizeBytes };
  // Committed also when the row is live: an object that was lost or damaged is healed that way.
  if (await touchBlob(db, digest.sha256)) {
    await staged.commit();
    // A reader who found the old bytes damaged may have said so meanwhile.
    if (!(await isLiveBlob(db, digest.sha256)))
      await withBlobLock(db, digest.sha256, (tx) => upsertLiveBlob(tx, digest));
  } else await withBlobLock(db, digest.sha256, (tx) => staged.commit().then(() => upsertLiveBlob(tx, digest)));
  return digest;
}

/** A whole small blob, verified. More bytes than `sizeBytesMax` are refused before they fill the memory. */
export async function readBlob(
  store: BlobStore,
  sha256: string,
  sizeBytesMax: number = 64 * 1024 * 1024,
): Promise<Buffer> {
  const stream: Readable = await store.get(sha256);
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    sizeBytes += chunk.length;
    if (sizeBytes > sizeBytesMax) throw tooLarge(sizeBytesMax);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
