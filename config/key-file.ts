// A key in a file of its own: made once, read by its owner alone, never replaced.
import { randomUUID } from 'node:crypto';
import { link, mkdir, rm, stat, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ConfigError } from './env.ts';

const readableByOthers = 0o077;

/**
 * Writes the file unless it is there. Two processes may start at once: linking a finished file into place lets exactly
 * one key win, and a start that dies half way leaves no half of one.
 */
export async function createKeyFile(path: string, content: () => string): Promise<void> {
  if (await exists(path)) return;
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const draft = `${path}.${randomUUID()}`;
  await writeFile(draft, content(), { mode: 0o600, flag: 'wx', flush: true });
  try {
    await link(draft, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    await rm(draft, { force: true });
  }
}

/** @throws ConfigError when others may read the file. */
export async function requirePrivate(path: string): Promise<void> {
  if (((await stat(path)).mode & readableByOthers) !== 0) {
    throw new ConfigError([`${path} may be read by others: run chmod 600 ${path}.`]);
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return false;
      throw error;
    },
  );
}
