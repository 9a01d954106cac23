import { mkdir, mkdtemp, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { removeTree } from './trees.ts';

/** Runs `body` with a directory of its own on the file system of the cache, and removes it afterwards. */
export async function withWorkDirectory<T>(cacheDir: string, body: (directory: string) => Promise<T>): Promise<T> {
  const parent = join(cacheDir, 'work');
  await mkdir(parent, { recursive: true });
  const directory = await mkdtemp(join(parent, `${process.pid}-`));
  try {
    return await body(directory);
  } finally {
    await removeTree(directory);
  }
}

/** Removes what killed processes of this machine left. */
export async function sweepWork(cacheDir: string): Promise<void> {
  const parent = join(cacheDir, 'work');
  await mkdir(parent, { recursive: true });
  const names = await readdir(parent);
  for (const name of names.filter((entry) => !isAlive(Number(entry.split('-')[0]))))
    await removeTree(join(parent, name));
}

export function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    // EPERM: it lives, as another user.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
