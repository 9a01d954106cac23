// The folder in which a stack keeps everything, and the lock that lets one stack at a time use it.
import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs';
import { access, constants, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Guard, type GuardEvent, LockHeldError, startGuard } from './guard.ts';

/** How long a predecessor that was killed may take to stop its services. */
const predecessorTimeoutMs = 45_000;

export interface LockedHome {
  guard: Guard;
  /** Gives the lock back, once the guard has stopped. */
  release(): void;
}

export interface LockOptions {
  home: string;
  /** Where this stack can be reached, for the message to whoever starts a second one. */
  url: string;
  python: string;
  onEvent: (event: GuardEvent) => void;
  say: (line: string) => void;
}

interface Holder {
  pid: number;
  url: string;
}

/** @throws when the folder cannot be made or written, saying what to do. */
export async function prepareHome(home: string): Promise<void> {
  // A stack of root runs Postgres and stages as other accounts, which have to pass through to what is theirs.
  const mode = process.getuid?.() === 0 ? 0o711 : 0o700;
  try {
    await mkdir(home, { recursive: true, mode });
    await mkdir(join(home, 'logs'), { recursive: true, mode: 0o700 });
    await access(home, constants.W_OK);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new Error(`${home} cannot be written (${code}): set ASSAY_HOME to a folder that you may write.`, { cause });
  }
}

/**
 * Starts the guard, which takes the lock. The lock belongs to the file opened here and is free once this process and
 * the guard are both gone; so a killed stack keeps it until its services have stopped, and then it is free.
 * @throws when another stack runs, naming its process and address.
 */
export async function lockHome({ home, url, python, onEvent, say }: LockOptions): Promise<LockedHome> {
  const path = join(home, 'stack.lock');
  const lockFile = openSync(path, 'a+', 0o600);
  const deadline = Date.now() + predecessorTimeoutMs;
  let isWaiting = false;
  for (;;) {
    try {
      const guard = await startGuard({ python, lockFile, onEvent });
      writeHolder(lockFile, { pid: process.pid, url });
      return { guard, release: () => closeSync(lockFile) };
    } catch (error) {
      const isStopping = error instanceof LockHeldError && !isAlive(readHolder(path)) && Date.now() < deadline;
      if (!isStopping) {
        closeSync(lockFile);
        throw error instanceof LockHeldError ? refusal(home, readHolder(path)) : error;
      }
      if (!isWaiting) say('Waiting for the previous stack, which was killed, to stop its servers.');
      isWaiting = true;
      await sleep(200);
    }
  }
}

function writeHolder(file: number, holder: Holder): void {
  ftruncateSync(file);
  writeSync(file, JSON.stringify(holder));
}

function readHolder(path: string): Holder | undefined {
  const text = readFileSync(path, 'utf8');
  return text === '' ? undefined : (JSON.parse(text) as Holder);
}

function isAlive(holder: Holder | undefined): boolean {
  if (!holder) return false;
  try {
    return process.kill(holder.pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function refusal(home: string, holder: Holder | undefined): Error {
  if (!holder) return new Error(`Another Assay is using ${home}; stop it, or set ASSAY_HOME to another folder.`);
  return new Error(
    `Assay already runs here: process ${holder.pid}, ${holder.url}. Use it, stop it (kill ${holder.pid}), or start another with its own ASSAY_HOME and ASSAY_PORT.`,
  );
}
