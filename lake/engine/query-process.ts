// The parent's side of one query process: requests, answers, limits and its end.
import { type ChildProcess, fork } from 'node:child_process';
import { readFile, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { DomainError } from '#core/errors.ts';
import type { EngineReply, EngineRequest, SandboxLimits } from './operations.ts';

/** Beside the sources this module is TypeScript, in the published package JavaScript. */
const entry = fileURLToPath(new URL(`./process${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url));
const watchEveryMs = 250;
/** What Node and DuckDB's libraries take beside the memory that DuckDB counts. */
const ownMemoryMib = 512;
const pageBytes = 4096;

export interface QueryProcess {
  readonly pid: number | undefined;
  readonly ended: boolean;
  /** It has run or read something that a user wrote, beyond parsing it: it then serves nobody else. */
  readonly used: boolean;
  send(request: EngineRequest): Promise<unknown>;
  /** Ends the process at once; the request under way fails with `reason`. */
  kill(reason: unknown): void;
  /** Kills the process when its memory or its files grow beyond the limits that DuckDB itself keeps. */
  watch(limits: SandboxLimits): { stop(): void };
  end(): Promise<void>;
}

/** `cacheDir` keeps the compiled form of this code, which halves the time to start. */
export function spawnQueryProcess(cacheDir: string): QueryProcess {
  // Nothing of our environment: a query must not find a secret there.
  const child = fork(entry, [], {
    env: { NODE_COMPILE_CACHE: join(cacheDir, 'compiled') },
    execArgv: ['--disable-warning=ExperimentalWarning'],
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  /** A process that nobody waits for does not keep this one alive. */
  const rest = () => {
    child.unref();
    child.channel?.unref();
  };
  rest();
  let waiting: { resolve: (value: unknown) => void; reject: (reason: unknown) => void } | undefined;
  let reason: unknown;
  let used = false;
  const ended = new Promise<void>((resolve) => {
    const onEnd = (error: unknown) => {
      waiting?.reject(error);
      waiting = undefined;
      resolve();
    };
    child.once('exit', (code, signal) => onEnd(reason ?? endedEarly(code, signal)));
    child.once('error', (error) => onEnd(error));
  });
  child.on('message', (message: EngineReply) => {
    const answered = waiting;
    waiting = undefined;
    rest();
    if (answered === undefined) return;
    if (message.kind === 'answer') answered.resolve(message.answer);
    else answered.reject(asError(message));
  });
  return {
    pid: child.pid,
    get ended() {
      return child.exitCode !== null || child.signalCode !== null || !child.connected;
    },
    get used() {
      return used;
    },
    send: (request) =>
      new Promise((resolve, reject) => {
        used ||= request.kind === 'call' && request.name !== 'inspect';
        if (reason !== undefined || !child.connected)
          return reject(reason ?? endedEarly(child.exitCode, child.signalCode));
        // The parent waits for the answer, so the process has to keep it alive until then.
        child.ref();
        child.channel?.ref();
        waiting = { resolve, reject };
        child.send(request, (error) => {
          if (error !== null) reject(error);
        });
      }),
    kill: (why) => {
      reason ??= why ?? new Error('the query was cancelled');
      child.kill('SIGKILL');
    },
    watch: (limits) =>
      watch(child, limits, (why) => {
        reason ??= why;
        child.kill('SIGKILL');
      }),
    end: async () => {
      child.ref();
      child.kill('SIGKILL');
      await ended;
    },
  };
}

function asError(reply: Exclude<EngineReply, { kind: 'answer' }>): Error {
  if (reply.kind === 'refused') return new DomainError(reply.code, reply.message, reply.details);
  return new Error(`The query engine failed: ${reply.message}`);
}

function endedEarly(code: number | null, signal: NodeJS.Signals | null): DomainError {
  return new DomainError(
    'query-limit',
    `The query process ended before it answered (${signal ?? `exit ${code}`}), most likely for lack of memory. Select less, or ask the operator for more memory.`,
  );
}

function watch(child: ChildProcess, limits: SandboxLimits, kill: (reason: DomainError) => void): { stop(): void } {
  let busy = false;
  const timer = setInterval(() => {
    if (busy) return;
    busy = true;
    void exceeded(child, limits).then((reason) => {
      busy = false;
      if (reason !== null) kill(new DomainError('query-limit', reason));
    });
  }, watchEveryMs);
  return { stop: () => clearInterval(timer) };
}

async function exceeded(child: ChildProcess, limits: SandboxLimits): Promise<string | null> {
  const memoryMib = (await residentBytes(child.pid)) / 1024 ** 2;
  const memoryMaxMib = limits.memoryMib + ownMemoryMib;
  if (memoryMib > memoryMaxMib) {
    return `The query used ${Math.round(memoryMib)} MiB of memory; ${memoryMaxMib} are allowed. Select less, or ask the operator for more.`;
  }
  const sizeBytes = await directoryBytes(limits.directory);
  if (sizeBytes <= limits.directoryBytesMax) return null;
  return `The query wrote ${sizeBytes} bytes; ${limits.directoryBytesMax} are allowed. Select less, or ask the operator for more.`;
}

/** 0 where the system does not tell, or the process is gone: DuckDB's own limit then stands alone. */
async function residentBytes(pid: number | undefined): Promise<number> {
  const text = await readFile(`/proc/${pid}/statm`, 'utf8').catch(() => '');
  return Number(text.split(' ')[1] ?? 0) * pageBytes;
}

async function directoryBytes(directory: string): Promise<number> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true }).catch(() => []);
  const sizes = entries
    .filter((entry) => entry.isFile())
    .map((entry) =>
      stat(join(entry.parentPath, entry.name)).then(
        (found) => found.size,
        () => 0,
      ),
    );
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}
