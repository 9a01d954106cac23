// Gives every unit of work a query process and a directory of its own, and ends both with it.
import { randomUUID } from 'node:crypto';
import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { DomainError } from '#core/errors.ts';
import { trimSegmentCache } from '#lake/segment-cache.ts';
import type { Operation, Operations, SandboxLimits } from './operations.ts';
import type { QueryProcess } from './query-process.ts';
import { createWarmProcess } from './warm-process.ts';

const trimEveryMs = 10 * 60_000;
/** Queries whose facts are kept. */
const rememberedMax = 256;
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
  /** Copies of segments beyond this make room for newer ones, unless they were used within the hour. */
  cacheBytesMax?: number;
  /** Told about trouble while tidying up, when nobody waits any more. */
  onError?: (error: unknown) => void;
}

export interface LakeEngine {
  cacheDir: string;
  /** Runs `use` with a process of its own and an empty directory, both of which end with it. */
  work<T>(use: (session: EngineSession) => Promise<T>, options?: { signal?: AbortSignal }): Promise<T>;
  /** What a query reads, judged and parsed; a query that was asked about lately is not parsed again. */
  inspect(query: string, options?: { signal?: AbortSignal }): Promise<Operations['inspect']['answer']>;
  /** Gives `use` an empty directory that ends with it; what a crash leaves is removed a day later. */
  scratch<T>(use: (directory: string) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

export interface EngineSession {
  /** Where results go; removed at the end, so what is to be kept has to be moved out. */
  directory: string;
  /** Fails with `query-refused` and `query-limit`. */
  call<Name extends Operation>(name: Name, args: Operations[Name]['args']): Promise<Operations[Name]['answer']>;
}

export function createLakeEngine(options: EngineOptions): LakeEngine {
  const directory = join(options.cacheDir, 'work');
  const warm = createWarmProcess(options.cacheDir);
  const ending = new Set<Promise<unknown>>();
  const trim = trimNowAndThen(options.cacheDir, options.cacheBytesMax ?? 20 * 1024 ** 3);
  let prepared: Promise<void> | undefined;

  const work: LakeEngine['work'] = async (use, { signal } = {}) => {
    signal?.throwIfAborted();
    await (prepared ??= prepareWork(directory));
    const limits = limitsOf(options, join(directory, randomUUID()));
    await mkdir(join(limits.directory, 'spill'), { recursive: true, mode: 0o700 });
    const started = warm.take();
    try {
      return await withDeadline(started, options.timeoutMs ?? 600_000, signal, () => serve(started, limits, use));
    } finally {
      // The caller has its answer and does not wait for this.
      const end = warm
        .giveBack(started)
        .then(() => rm(limits.directory, { recursive: true, force: true }))
        .then(trim);
      const reported = end.catch((error: unknown) => options.onError?.(error));
      ending.add(reported);
      void reported.finally(() => ending.delete(reported));
    }
  };

  return {
    cacheDir: options.cacheDir,
    work,
    scratch: async (use) => {
      await (prepared ??= prepareWork(directory));
      const scratch = join(directory, randomUUID());
      await mkdir(scratch, { mode: 0o700 });
      try {
        return await use(scratch);
      } finally {
        await rm(scratch, { recursive: true, force: true });
      }
    },
    inspect: remember((query, signal) => work((session) => session.call('inspect', { query }), signal)),
    close: async () => {
      await warm.close();
      await Promise.all(ending);
    },
  };
}

/** Facts depend on the text and the engine's version alone. Refusals and accidents are asked about again. */
function remember(inspect: LakeEngine['inspect']): LakeEngine['inspect'] {
  const known = new Map<string, Awaited<ReturnType<LakeEngine['inspect']>>>();
  return async (query, options) => {
    const facts = known.get(query) ?? (await inspect(query, options));
    known.delete(query);
    known.set(query, facts);
    const [oldest] = known.keys();
    if (known.size > rememberedMax && oldest !== undefined) known.delete(oldest);
    return facts;
  };
}

/** Counting the copies reads their directory, which is not for every query to pay. */
function trimNowAndThen(cacheDir: string, cacheBytesMax: number): () => Promise<void> {
  let trimmedMs = 0;
  return async () => {
    if (Date.now() - trimmedMs < trimEveryMs) return;
    trimmedMs = Date.now();
    await trimSegmentCache(cacheDir, cacheBytesMax);
  };
}

function limitsOf(options: EngineOptions, directory: string): SandboxLimits {
  return {
    threads: options.threads ?? availableParallelism(),
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

async function prepareWork(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  for (const name of await readdir(directory)) {
    const path = join(directory, name);
    const { mtimeMs } = await stat(path);
    if (Date.now() - mtimeMs > abandonedAfterMs) await rm(path, { recursive: true, force: true });
  }
}
