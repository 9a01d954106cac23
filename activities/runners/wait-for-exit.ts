import { type FSWatcher, watch } from 'node:fs';
import { isSupervised, type Launch, readExit, stateDirectoryOf } from './launch-state.ts';
import type { StageExit } from './runner.ts';

/** Carries the wait where the system reports no changes: some network disks, or no watches left. */
const pollMs = 250;
const livenessMs = 1_000;

/**
 * Resolves with the exit as soon as it is written. A launch that lost its supervisor goes to `bury`, which writes one.
 * Rejects with the reason of `abort`, and with whatever `bury` could not do.
 */
export async function waitForExit(
  launch: Launch,
  bury: () => Promise<StageExit>,
  abort: AbortSignal | undefined,
): Promise<StageExit> {
  const bell = createBell(launch, abort);
  let checkAt = Date.now();
  try {
    for (;;) {
      abort?.throwIfAborted();
      const rung = bell.next();
      const exit = await readExit(launch);
      if (exit) return exit;
      if (Date.now() >= checkAt) {
        if (!(await isSupervised(launch))) return await bury();
        checkAt = Date.now() + livenessMs;
      }
      await rung;
    }
  } finally {
    bell.close();
  }
}

export interface Bell {
  /** Resolves at the next change, abort or poll after this call. */
  next(): Promise<void>;
  close(): void;
}

export function createBell(launch: Launch, abort: AbortSignal | undefined): Bell {
  let ring: () => void = () => undefined;
  const onChange = (): void => ring();
  const watcher = watchIfPossible(stateDirectoryOf(launch), onChange);
  const timer = setInterval(onChange, pollMs);
  abort?.addEventListener('abort', onChange);
  return {
    next: () => new Promise((resolve) => (ring = resolve)),
    close() {
      watcher?.close();
      clearInterval(timer);
      abort?.removeEventListener('abort', onChange);
    },
  };
}

function watchIfPossible(directory: string, onChange: () => void): FSWatcher | null {
  try {
    const watcher = watch(directory, { persistent: false }, onChange);
    // Whatever ends the watch, the poll goes on.
    watcher.on('error', () => watcher.close());
    return watcher;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ENOSPC' || code === 'EMFILE') return null;
    throw error;
  }
}
