// The mirror of wheels: bytes in the blob store, lists in Postgres.
import { missingBlobs } from '#db/blobs.ts';
import type { Database } from '#db/connect.ts';
import { keepWheelList, listKeptWheels } from '#db/environments.ts';
import type { WheelStore } from '#environment/mirror/wheel-store.ts';
import { mapLimited } from '#lake/map-limited.ts';
import type { BlobStore } from '#storage/blob-store.ts';
import { keepBlob } from '#storage/keep.ts';

const putsAtOnce = 4;

export function createWheelStore({ db, store }: { db: Database; store: BlobStore }): WheelStore {
  return {
    wheelsOf: (environmentKey) => listKeptWheels(db, environmentKey),
    missing: (sha256s) => missingBlobs(db, sha256s),
    fetch: async ({ sha256 }, path) => {
      await store.copyTo(sha256, path);
    },
    keep: async (environmentKey, wheels) => {
      const missing = new Set(
        await missingBlobs(
          db,
          wheels.map(({ sha256 }) => sha256),
        ),
      );
      const wanted = wheels.filter(({ sha256 }) => missing.has(sha256));
      await mapLimited(wanted, putsAtOnce, ({ path, sha256 }) => keepBlob(db, store, { file: path }, { sha256 }));
      const rows = wheels.map(({ filename, sha256, origin }) => ({ filename, sha256, origin }));
      await keepWheelList(db, environmentKey, rows);
    },
  };
}
