// Whether an earlier result can answer a step.
import type { EarlierResult } from '#db/claims.ts';
import { mapLimited } from '#lake/map-limited.ts';
import type { BlobStore } from '#storage/blob-store.ts';

const statsAtOnce = 16;

/** Whether every blob of a result is still there: one that is not all there is as good as none. */
export async function isWhole(store: Pick<BlobStore, 'stat'>, { blobs }: EarlierResult): Promise<boolean> {
  const found = await mapLimited(blobs, statsAtOnce, async (sha256) => (await store.stat(sha256)) !== null);
  return !found.includes(false);
}
