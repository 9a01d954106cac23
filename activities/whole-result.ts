// Whether an earlier result can answer a step.
import { blobsOfResult, type EarlierResult } from '#db/claims.ts';
import type { Database } from '#db/connect.ts';
import { mapLimited } from '#lake/map-limited.ts';
import type { BlobStore } from '#storage/blob-store.ts';

const statsAtOnce = 16;

/** The blobs of a result; null when one of them is gone: a result that is not all there is as good as none. */
export async function wholeResult(
  { db, store }: { db: Database; store: Pick<BlobStore, 'stat'> },
  result: EarlierResult,
  step: string,
): Promise<string[] | null> {
  const blobs = await blobsOfResult(db, result, step);
  const found = await mapLimited(blobs, statsAtOnce, async (sha256) => (await store.stat(sha256)) !== null);
  return found.includes(false) ? null : blobs;
}
