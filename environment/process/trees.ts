import type { Stats } from 'node:fs';
import { chmod, lstat, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';

const writeBits = 0o222;
const readableByAll = 0o444;
const traversableByAll = 0o555;

/** Takes the write permission from everything below, so that a stage cannot change what the next one imports. */
export async function makeReadOnly(folder: string): Promise<void> {
  await walk(folder, async (path, found) => {
    if (found.isSymbolicLink()) return;
    const added = found.isDirectory() ? traversableByAll : readableByAll;
    await chmod(path, (found.mode & 0o7777 & ~writeBits) | added);
  });
  await chmod(folder, traversableByAll);
}

/** Removes a tree whose directories may be read-only. */
export async function removeTree(folder: string): Promise<void> {
  const found = await lstat(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (found?.isDirectory()) await makeDirectoriesWritable(folder);
  // An orphan of a killed process may still be writing there for a moment.
  await rm(folder, { recursive: true, force: true, maxRetries: 8 });
}

async function makeDirectoriesWritable(folder: string): Promise<void> {
  await chmod(folder, 0o755);
  await walk(folder, async (path, entry) => {
    if (entry.isDirectory()) await chmod(path, 0o755);
  });
}

/** Visits a directory before what it holds, so that a visitor may open it first. */
export async function walk(folder: string, visit: (path: string, found: Stats) => Promise<void>): Promise<void> {
  const names = await readdir(folder);
  for (const name of names) {
    const path = join(folder, name);
    const found = await lstat(path);
    await visit(path, found);
    if (found.isDirectory()) await walk(path, visit);
  }
}
