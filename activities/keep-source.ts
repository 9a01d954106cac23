// A commit's tree as a blob. One commit always gives the same bytes, so of all its runs only the first packs them.
import { touchBlob } from '#db/blobs.ts';
import type { Database } from '#db/connect.ts';
import type { Mirrors } from '#git/mirror.ts';
import type { BlobStore } from '#storage/blob-store.ts';
import { keepBlob } from '#storage/keep.ts';

/** Answers the blob's sha256, which is protected from collection while the caller writes its reference. */
export type KeepSource = (projectId: string, commit: string) => Promise<string>;

const commitsMax = 256;

export function createKeepSource(deps: { db: Database; store: BlobStore; mirrors: Mirrors }): KeepSource {
  const known = new Map<string, string>();

  const isKept = async (sha256: string) =>
    (await touchBlob(deps.db, sha256)) && (await deps.store.stat(sha256)) !== null;

  return async (projectId, commit) => {
    const key = `${projectId} ${commit}`;
    const before = known.get(key);
    if (before !== undefined && (await isKept(before))) return before;
    const { sha256 } = await keepBlob(deps.db, deps.store, await deps.mirrors.archive(projectId, commit));
    known.set(key, sha256);
    const [oldest] = known.keys();
    if (known.size > commitsMax && oldest !== undefined) known.delete(oldest);
    return sha256;
  };
}
