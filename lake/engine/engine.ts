// Starts query processes and watches over them. One process serves one unit of work; the next one is started ahead of
// time while queries keep coming, because starting takes longer than a small query.
import { randomUUID } from 'node:crypto';
import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { DomainError } from '#core/errors.ts';
import type { Operation, Operations, SandboxLimits } from './operations.ts';
import { type QueryProcess, spawnQueryProcess } from './query-process.ts';

/** A process that was started ahead of time and is not needed goes after this. */
const warmForMs = 60_000;
/** Directories of work that died with its process. */
const abandonedAfterMs = 24 * 60 * 60 * 1000;

export interface EngineOptions {
  /** Holds the verified copies of segments, and the working directories of queries. */
  cacheDir: string;
  threads?: number;
  memoryMib?: number;
  /** For one unit of work, data included. */
  timeoutMs?: number;
  /** What a query may write, its result included. */
  directoryBytesMax?: number;
}

export interface LakeEngine {
  cacheDir: string;
  /** Runs `use` with a process of its own and an empty directory, both of which end with it. */
  work<T>(use: (session: EngineSession) => Promise<T>, options?: { signal?: AbortSignal }): Promise<T>;
  close(): Promise<void>;
}

export interface EngineSession {
  /** Where results go; removed at the end, so what is to be kept has to be moved out. */
  directory: string;
  /** Fails with `query-refused` and `query-limit`. */
  call<Name extends Operation>(name: Name, args: Operations[Name]['args']): Promise<Operations[Name]['answer']>;
}

export function createLakeEngine(options: EngineOptions): LakeEngine {
  const work = join(options.cacheDir, 'work');
  const ready = prepareWork(work);
  const warm = createWarmProcess();
  const ending = new Set<Promise<void>>();
  return {
    cacheDir: options.cacheDir,
    work: async (use, { signal } = {}) => {
      signal?.throwIfAborted();
      await ready;
      const limits = limitsOf(options, join(work, randomUUID()));
      await mkdir(join(limits.directory, 'spill'), { recursive: true, mode: 0o700 });
      const started = warm.take();
      try {
        return await withDeadline(started, options.timeoutMs ?? 600_000, signal, () => serve(started, limits, use));
      } finally {
        const end = endOf(started, limits.directory).then(warm.refill);
        ending.add(end);
        void end.finally(() => ending.delete(end));
      }
    },
    close: async () => {
      await warm.close();
      await Promise.all(ending);
    },
  };
}

/** The caller has its answer and does not wait for this. */
async function endOf(started: QueryProcess, directory: string): Promise<void> {
  await started.end();
  await rm(directory, { recursive: true, force: true });
}

function limitsOf(options: EngineOptions, directory: string): SandboxLimits {
  return {
    threads: options.threads ?? 2,
    memoryMib: options.memoryMib ?? 2048,
    directory,
    directoryBytesMax: options.directoryBytesMax ?? 32 * 1024 ** 3,
  };
}

async function serve<T>(
  started: QueryProcess,
  limits: SandboxLimits,
  use: (session: EngineSession) => Promise<T>,
): Promise<T> {
  const watch = started.watch(limits);
  try {
    await started.send({ kind: 'open', limits });
    return await use({
      directory: limits.directory,
      call: async (name, args) => (await started.send({ kind: 'call', name, args } as never)) as never,
    });
  } finally {
    watch.stop();
  }
}

/** The process is killed at the deadline; whoever waits for its answer then gets the reason. */
async function withDeadline<T>(
  started: QueryProcess,
  timeoutMs: number,
  signal: AbortSignal | undefined,
  use: () => Promise<T>,
): Promise<T> {
  const timer = setTimeout(() => started.kill(timeLimit(timeoutMs)), timeoutMs);
  const abort = () => started.kill(signal?.reason);
  signal?.addEventListener('abort', abort, { once: true });
  try {
    return await use();
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', abort);
  }
}

function timeLimit(timeoutMs: number): DomainError {
  return new DomainError(
    'query-limit',
    `The query ran longer than ${timeoutMs / 1000} s and was stopped. Select less, or ask the operator for a longer limit.`,
  );
}

/** Keeps at most one process ahead of need, and none when nothing happens. */
function createWarmProcess() {
  let next: QueryProcess | undefined;
  let closed = false;
  let expiry: NodeJS.Timeout | undefined;
  const drop = async () => {
    const dropped = next;
    next = undefined;
    await dropped?.end();
  };
  const refill = () => {
    clearTimeout(expiry);
    if (closed) return;
    if (next === undefined || next.ended) next = spawnQueryProcess();
    expiry = setTimeout(() => void drop(), warmForMs).unref();
  };
  return {
    refill,
    take: () => {
      if (closed) throw new Error('the lake engine is closed');
      const taken = next !== undefined && !next.ended ? next : spawnQueryProcess();
      next = undefined;
      return taken;
    },
    close: async () => {
      closed = true;
      clearTimeout(expiry);
      await drop();
    },
  };
}

async function prepareWork(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  for (const name of await readdir(directory)) {
    const path = join(directory, name);
    const { mtimeMs } = await stat(path);
    if (Date.now() - mtimeMs > abandonedAfterMs) await rm(path, { recursive: true, force: true });
  }
}
