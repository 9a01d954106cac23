// Where a disk store keeps what: `objects/ab/ab12…` are complete, `incoming/…` is everything that is not yet.
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { randomUUID } from 'node:crypto';
import { StorageFullError, requireSha256 } from './blob-store.ts';

export interface Disk {
  root: string;
  /** False skips every fsync. */
  durable: boolean;
  /** Shard directories known to exist. */
  shards: Set<string>;
}

export function objectPath(disk: Disk, sha256: string): string {
  return join(disk.root, 'objects', requireSha256(sha256).slice(0, 2), sha256);
}

export function newIncomingPath(disk: Disk): string {
  return join(disk.root, 'incoming', randomUUID());
}

/** The rename makes the bytes visible, the fsync of the directory makes that last. */
export async function moveToObjects(disk: Disk, incoming: string, sha256: string): Promise<void> {
  const target = objectPath(disk, sha256);
  await ensureShard(disk, dirname(target));
  await rename(incoming, target);
  await syncDirectory(disk, dirname(target));
}

async function ensureShard(disk: Disk, shard: string): Promise<void> {
  if (disk.shards.has(shard)) return;
  const created = await mkdir(shard, { recursive: true, mode: 0o700 });
  if (created !== undefined) await syncDirectory(disk, dirname(shard));
  disk.shards.add(shard);
}

async function syncDirectory(disk: Disk, path: string): Promise<void> {
  if (!disk.durable) return;
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Removes the unfinished file when the work on it fails, and says in plain words when the disk is full. */
export async function finishOrRemove<T>(unfinished: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    await rm(unfinished, { force: true });
    throw isFull(error) ? new StorageFullError(dirname(unfinished), error) : error;
  }
}

function isFull(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOSPC' || error.code === 'EDQUOT');
}

export function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

/** Removes files of the folder that nobody wrote to for so long; answers how many. One that vanishes meanwhile is no error. */
export async function sweepFolder(folder: string, olderThanMs: number): Promise<number> {
  let removed = 0;
  for (const name of await readdir(folder)) {
    const path = join(folder, name);
    const found = await stat(path).catch((error: unknown) => {
      if (isMissing(error)) return null;
      throw error;
    });
    if (found === null || Date.now() - found.mtimeMs < olderThanMs) continue;
    await rm(path, { force: true });
    removed += 1;
  }
  return removed;
}
