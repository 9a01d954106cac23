// The only place where the server runs the git binary.
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { gitEnvironment, type Transport } from './hardening.ts';

export interface GitOptions {
  /** The repository. Git never searches for one. */
  gitDir?: string;
  transport?: Transport;
  config?: Record<string, string>;
  env?: Record<string, string>;
  stdin?: string | Buffer | Readable;
  timeoutMs?: number;
  outputBytesMax?: number;
  signal?: AbortSignal;
}

export type GitFailure = 'exit' | 'timeout' | 'output-limit' | 'not-installed';

/** Git failed. Callers turn the cases they understand into a DomainError; the rest is trouble in the world. */
export class GitError extends Error {
  readonly failure: GitFailure;
  readonly exitCode: number | null;
  readonly stderr: string;

  constructor(failure: GitFailure, message: string, exitCode: number | null = null, stderr = '') {
    super(message);
    this.name = 'GitError';
    this.failure = failure;
    this.exitCode = exitCode;
    this.stderr = stderr;
  }
}

export interface GitProcess {
  stdin: Writable;
  stdout: Readable;
  /** Settles when git ended: rejects with GitError, or with the signal's reason when the caller aborted. */
  done: Promise<void>;
  /** Ends git and its children now; `done` then rejects with the given error. */
  stop(error: Error): void;
}

const timeoutMsDefault = 120_000;
const outputBytesMaxDefault = 64 * 1024 ** 2;
const stderrBytesMax = 64 * 1024;
const killAfterMs = 2_000;

type Child = ChildProcessByStdio<Writable, Readable, Readable>;

function launch(args: readonly string[], options: GitOptions): Child {
  const where = options.gitDir === undefined ? [] : [`--git-dir=${options.gitDir}`];
  return spawn('git', [...where, '--no-pager', ...args], {
    cwd: options.gitDir ?? '/',
    env: { ...gitEnvironment(options.transport ?? 'none', options.config), ...options.env },
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: true,
  });
}

// Git's transports and index-pack are children of git, so the whole process group is ended. SIGTERM comes first because
// git then removes its own lock files.
function endGroup(child: Child): void {
  const send = (signal: NodeJS.Signals) => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  };
  send('SIGTERM');
  const kill = setTimeout(() => send('SIGKILL'), killAfterMs);
  child.once('close', () => clearTimeout(kill));
}

function collectStderr(stream: Readable): () => string {
  let text = '';
  stream.setEncoding('utf8');
  stream.on('data', (chunk: string) => {
    if (text.length < stderrBytesMax) text += chunk;
  });
  return () => text.trim();
}

function exitError(verb: string, code: number | null, signal: string | null, stderr: string): GitError {
  const how = signal === null ? `exit code ${code}` : `signal ${signal}`;
  return new GitError('exit', `git ${verb} failed with ${how}: ${stderr || 'no message'}`, code, stderr);
}

function notInstalled(error: Error): Error {
  if ((error as NodeJS.ErrnoException).code !== 'ENOENT') return error;
  return new GitError('not-installed', 'git was not found on PATH; install git 2.39 or newer');
}

/** Starts git with its streams open, for callers that read more than fits in memory. The caller must await `done`. */
export function startGit(args: readonly string[], options: GitOptions = {}): GitProcess {
  const verb = args[0] ?? '';
  const timeoutMs = options.timeoutMs ?? timeoutMsDefault;
  options.signal?.throwIfAborted();
  const child = launch(args, options);
  const stderr = collectStderr(child.stderr);
  let stopped: Error | null = null;
  const stop = (error: Error) => {
    stopped ??= error;
    endGroup(child);
    child.stdout.destroy();
  };
  const onAbort = () => stop(options.signal?.reason as Error);
  options.signal?.addEventListener('abort', onAbort, { once: true });
  const timer = setTimeout(
    () => stop(new GitError('timeout', `git ${verb} did not finish within ${timeoutMs} ms`)),
    timeoutMs,
  );
  // Git may end without reading all of its input; its exit code says whether that is an error.
  child.stdin.on('error', () => undefined);
  const done = new Promise<void>((resolve, reject) => {
    child.once('error', (error) => reject(notInstalled(error)));
    child.once('close', (code, signal) => {
      if (stopped !== null) reject(stopped);
      else if (code === 0) resolve();
      else reject(exitError(verb, code, signal, stderr()));
    });
  }).finally(() => {
    clearTimeout(timer);
    options.signal?.removeEventListener('abort', onAbort);
  });
  return { stdin: child.stdin, stdout: child.stdout, done, stop };
}

function feed(git: GitProcess, input: GitOptions['stdin']): void {
  if (input === undefined || typeof input === 'string' || Buffer.isBuffer(input)) {
    git.stdin.end(input);
    return;
  }
  input.once('error', (error) => git.stop(error));
  git.stdin.once('close', () => input.destroy());
  input.pipe(git.stdin);
}

/** Runs git to its end and answers its standard output, at most `outputBytesMax` bytes of it. */
export async function runGit(args: readonly string[], options: GitOptions = {}): Promise<Buffer> {
  const git = startGit(args, options);
  const outputBytesMax = options.outputBytesMax ?? outputBytesMaxDefault;
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  git.stdout.on('data', (chunk: Buffer) => {
    sizeBytes += chunk.length;
    if (sizeBytes <= outputBytesMax) chunks.push(chunk);
    else git.stop(new GitError('output-limit', `git ${args[0]} wrote more than ${outputBytesMax} bytes`));
  });
  feed(git, options.stdin);
  await git.done;
  return Buffer.concat(chunks);
}
