// What every function of the lake is given.
import type { Database } from '#db/connect.ts';
import type { BlobStore } from '#storage/blob-store.ts';
import type { LakeEngine } from './engine/engine.ts';

export interface Lake {
  db: Database;
  store: BlobStore;
  engine: LakeEngine;
}
