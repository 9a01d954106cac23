// Collection: what no row refers to any more and nobody touched for a week is deleted, bytes first, then the row.
import { blobsWithoutRow, deleteMarkedBlob, deleteStrayBlob, markUnreferencedBlobs } from '#db/blobs.ts';
import type { Database } from '#db/connect.ts';
import type { BlobStore, StoredBlob } from './blob-store.ts';

const weekMs = 7 * 24 * 60 * 60 * 1000;
/** How many objects are compared with their rows at once. */
const strayBatch = 1000;

export interface Collected {
  blobs: number;
  sizeBytes: number;
}

export interface CollectOptions {
  /** Long enough for a caller that stored bytes to write the row that refers to them. */
  untouchedForMs?: number;
  blobsMax?: number;
}

/** One round. A round that dies half way is finished by the next one; a put of the same bytes meanwhile wins. */
export async function collectBlobs(
  { db, store }: { db: Database; store: BlobStore },
  { untouchedForMs = weekMs, blobsMax = 1000 }: CollectOptions = {},
): Promise<Collected> {
  const collected = { blobs: 0, sizeBytes: 0 };
  for (const blob of await markUnreferencedBlobs(db, untouchedForMs, blobsMax)) {
    if (!(await deleteMarkedBlob(db, blob.sha256, () => store.delete(blob.sha256)))) continue;
    collected.blobs += 1;
    collected.sizeBytes += blob.sizeBytes;
  }
  return collected;
}

/** Removes bytes without a row and unfinished puts, once they are old enough to belong to nobody. Reads the whole list. */
export async function collectStrays(
  { db, store }: { db: Database; store: BlobStore },
  { olderThanMs = weekMs }: { olderThanMs?: number } = {},
): Promise<Collected & { unfinished: number }> {
  const collected = { blobs: 0, sizeBytes: 0, unfinished: await store.sweep(olderThanMs) };
  let batch: StoredBlob[] = [];
  const flush = async () => {
    const sizes = new Map(batch.map((blob) => [blob.sha256, blob.sizeBytes]));
    batch = [];
    for (const sha256 of await blobsWithoutRow(db, [...sizes.keys()])) {
      if (!(await deleteStrayBlob(db, sha256, () => store.delete(sha256)))) continue;
      collected.blobs += 1;
      collected.sizeBytes += sizes.get(sha256) ?? 0;
    }
  };
  for await (const blob of store.list()) {
    if (Date.now() - blob.modifiedAt.getTime() < olderThanMs) continue;
    batch.push(blob);
    if (batch.length === strayBatch) await flush();
  }
  await flush();
  return collected;
}
