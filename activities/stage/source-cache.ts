// A commit's tree on this node, extracted once from its source blob and then only copied from.
import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { chmod, chown, mkdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { extractSource } from '#git/extract.ts';
import { namingDamage } from '#activities/damage.ts';
import type { BlobStore } from '#storage/blob-store.ts';

export interface SourceCache {
  /** A directory that must only be read. */
  directory(sourceSha256: string): Promise<string>;
}

const limits = { filesMax: 1_000_000, sizeBytesMax: 50 * 2 ** 30 };

/** `readers` is the group of the account that builds packages, which reads trees but is not this process. */
export function createSourceCache(store: BlobStore, cacheDir: string, readers: number | null = null): SourceCache {
  const extracting = new Map<string, Promise<string>>();
  return {
    directory(sha256) {
      const under = extracting.get(sha256) ?? extractOnce(store, cacheDir, sha256, readers);
      extracting.set(sha256, under);
      return under.finally(() => extracting.delete(sha256));
    },
  };
}

async function extractOnce(
  store: BlobStore,
  cacheDir: string,
  sha256: string,
  readers: number | null,
): Promise<string> {
  const directory = join(cacheDir, sha256);
  if (await exists(directory)) return directory;
  // Two workers of one process may be at the same source in the same moment.
  const fresh = join(cacheDir, `.${sha256}.${randomUUID()}`);
  const archive = `${fresh}.tar`;
  try {
    // Other projects' stages, which may run as the same account, have no business here: they get copies.
    await mkdir(cacheDir, { recursive: true, mode: 0o700 });
    if (readers !== null) {
      await chown(cacheDir, process.getuid?.() ?? 0, readers);
      await chmod(cacheDir, 0o710);
    }
    // Verified before anything is read from it: a damaged archive is told as what it is, not by what it fails on.
    await namingDamage('The source archive of this commit', 'Submitting the commit again stores it anew.', () =>
      store.copyTo(sha256, archive, { mode: 0o600 }),
    );
    await mkdir(fresh);
    await extractSource(createReadStream(archive), fresh, { limits });
    await rename(fresh, directory).catch(async (error: unknown) => {
      if (!(await exists(directory))) throw error;
    });
  } finally {
    await rm(archive, { force: true });
    await rm(fresh, { recursive: true, force: true });
  }
  return directory;
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => null)) !== null;
}
