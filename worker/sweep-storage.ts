// Puts of processes that died leave files and uploads that nobody sees and everybody pays for.
import type { BlobStore } from '#storage/blob-store.ts';
import type { Logger } from './logger.ts';

const dayMs = 24 * 60 * 60 * 1000;
/** No put takes so long. */
const olderThanMs = 7 * dayMs;

/** Removes them now and once a day, until the answer is called. */
export function sweepStorageDaily(store: BlobStore, log: Logger): () => void {
  const sweep = () => {
    store.sweep(olderThanMs).then(
      (removed) => removed > 0 && log.info({ removed }, 'unfinished puts were removed from the blob store'),
      (error: unknown) => log.warn({ error }, 'the blob store could not be swept; it is tried again tomorrow'),
    );
  };
  sweep();
  const timer = setInterval(sweep, dayMs).unref();
  return () => clearInterval(timer);
}
