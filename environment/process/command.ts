import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';

export type LineListener = (line: string) => void;

export interface CommandOptions {
  cwd?: string;
  /** The whole environment of the child: nothing else is inherited. */
  env: Readonly<Record<string, string>>;
  /** Receives stderr line by line, without credentials. */
  onLine?: LineListener | undefined;
  signal?: AbortSignal | undefined;
  /** Another account than this process's, which then has to be root. */
  account?: { uid: number; gid: number };
}

export interface CommandResult {
  exitCode: number;
  stdout: string;
  stderr: string;
}

const outputCharsMax = 32 * 1024 * 1024;
const killAfterMs = 5_000;

/** Runs one program by argument array with an empty stdin. A non-zero exit is a result, not an exception. */
export async function runCommand(
  program: string,
  args: readonly string[],
  options: CommandOptions,
): Promise<CommandResult> {
  options.signal?.throwIfAborted();
  const child = spawn(program, args, {
    cwd: options.cwd,
    env: { ...options.env },
    ...options.account,
    stdio: ['ignore', 'pipe', 'pipe'],
    // A group of its own, so that an abort also reaches compilers and git started by the child.
    detached: true,
  });
  const closed = new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve(code ?? (signal === 'SIGKILL' ? 137 : 143)));
  });
  const stopWatching = stopOnAbort(child.pid, options.signal);
  try {
    const [exitCode, stdout, stderr] = await Promise.all([
      closed,
      collect(child.stdout),
      collect(child.stderr, options.onLine),
    ]);
    options.signal?.throwIfAborted();
    return { exitCode, stdout, stderr };
  } finally {
    stopWatching();
  }
}

/** The text of a stream without credentials; `onLine` hears each line at once. */
export async function collect(stream: Readable, onLine?: LineListener): Promise<string> {
  let text = '';
  for await (const raw of createInterface({ input: stream, crlfDelay: Number.POSITIVE_INFINITY })) {
    const line = withoutCredentials(raw);
    onLine?.(line);
    if (text.length < outputCharsMax) text += `${line}\n`;
  }
  return text;
}

/** Replaces user and password of http addresses, so that a log or an error never shows them. */
function withoutCredentials(text: string): string {
  return text.replaceAll(/(https?:\/\/)[^\s/@'"]+@/g, '$1***@');
}

function stopOnAbort(pid: number | undefined, signal: AbortSignal | undefined): () => void {
  let timer: NodeJS.Timeout | undefined;
  const stop = (): void => {
    signalGroup(pid, 'SIGTERM');
    timer = setTimeout(() => signalGroup(pid, 'SIGKILL'), killAfterMs);
  };
  signal?.addEventListener('abort', stop, { once: true });
  return () => {
    clearTimeout(timer);
    signal?.removeEventListener('abort', stop);
  };
}

function signalGroup(pid: number | undefined, name: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, name);
  } catch (error) {
    // The group ended between the abort and the signal.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
