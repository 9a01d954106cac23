// Verified local copies of segments, shared by all queries of this machine. Files never change; their name is their hash.
import { mkdir, opendir, rm, stat, utimes } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { DomainError } from '#core/errors.ts';
import type { BlobStore } from '#storage/blob-store.ts';
import { mapLimited } from './map-limited.ts';

/** Copies under way at once. */
const fetchesMax = 4;
/** A segment that was used so recently may be read right now. */
const inUseMs = 60 * 60 * 1000;

/** The paths of the segments' local copies, in the order given; what is missing is fetched and verified. */
export function cacheSegments(store: BlobStore, cacheDir: string, sha256s: readonly string[]): Promise<string[]> {
  return mapLimited(sha256s, fetchesMax, async (sha256) => {
    const path = segmentPath(cacheDir, sha256);
    if (!(await touch(path))) await bring(store, sha256, path);
    return path;
  });
}

/** As `cacheSegments`, but of what the store holds now: copies that are here already are not believed. */
export async function refreshSegments(
  store: BlobStore,
  cacheDir: string,
  sha256s: readonly string[],
): Promise<Array<{ sha256: string; path: string; problem: DomainError | null }>> {
  return await mapLimited([...new Set(sha256s)], fetchesMax, async (sha256) => {
    const path = segmentPath(cacheDir, sha256);
    try {
      await bring(store, sha256, path);
      return { sha256, path, problem: null };
    } catch (error) {
      if (error instanceof DomainError) return { sha256, path, problem: error };
      throw error;
    }
  });
}

function segmentPath(cacheDir: string, sha256: string): string {
  return join(cacheDir, 'segments', sha256.slice(0, 2), `${sha256}.parquet`);
}

async function bring(store: BlobStore, sha256: string, path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await store.copyTo(sha256, path, { mode: 0o400 });
}

/** Removes the least recently used copies until the rest fits; answers how many bytes went. */
export async function trimSegmentCache(cacheDir: string, sizeBytesMax: number): Promise<number> {
  const files = await listFiles(join(cacheDir, 'segments'));
  files.sort((a, b) => a.usedMs - b.usedMs);
  let sizeBytes = files.reduce((sum, file) => sum + file.sizeBytes, 0);
  let removed = 0;
  for (const file of files) {
    if (sizeBytes <= sizeBytesMax || Date.now() - file.usedMs < inUseMs) break;
    await rm(file.path, { force: true });
    sizeBytes -= file.sizeBytes;
    removed += file.sizeBytes;
  }
  return removed;
}

/** False when there is no such file. The time tells the trimming that the copy is in use. */
async function touch(path: string): Promise<boolean> {
  const now = new Date();
  return utimes(path, now, now).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return false;
      throw error;
    },
  );
}

async function listFiles(root: string): Promise<Array<{ path: string; sizeBytes: number; usedMs: number }>> {
  const files = [];
  await mkdir(root, { recursive: true, mode: 0o700 });
  for await (const entry of await opendir(root, { recursive: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const found = await stat(path);
    files.push({ path, sizeBytes: found.size, usedMs: found.mtimeMs });
  }
  return files;
}
