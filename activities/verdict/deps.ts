import type { Database } from '#db/connect.ts';
import type { Lake } from '#lake/lake.ts';
import type { BlobStore } from '#storage/blob-store.ts';

export interface VerdictDeps {
  db: Database;
  store: BlobStore;
  lake: Pick<Lake, 'engine'>;
}
