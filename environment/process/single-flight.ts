import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as delay } from 'node:timers/promises';

const lookAgainMs = 50;

/**
 * Runs `body` while holding the lock file, one holder per machine. SQLite's file lock is given back by the
 * kernel when the holder dies, so a killed process never blocks the next one.
 */
export async function withFileLock<T>(path: string, body: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  await mkdir(dirname(path), { recursive: true });
  const lock = await acquire(path, signal);
  try {
    return await body();
  } finally {
    lock.close();
  }
}

async function acquire(path: string, signal?: AbortSignal): Promise<DatabaseSync> {
  for (;;) {
    const lock = tryLock(path);
    if (lock !== undefined) return lock;
    await delay(lookAgainMs, undefined, { signal });
  }
}

function tryLock(path: string): DatabaseSync | undefined {
  const database = new DatabaseSync(path, { timeout: 0 });
  try {
    database.exec('BEGIN EXCLUSIVE');
    return database;
  } catch (error) {
    database.close();
    if (isBusy(error)) return undefined;
    throw error;
  }
}

function isBusy(error: unknown): boolean {
  const sqliteBusy = 5;
  return error instanceof Error && 'errcode' in error && error.errcode === sqliteBusy;
}
