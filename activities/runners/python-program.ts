// Starts Python programs that outlive this process.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { type Launch, readIfThere } from './launch-state.ts';

export interface Python {
  /** At least 3.9, as an absolute path to the interpreter itself, not to a shim. */
  python: string;
  /** Where it keeps compiled programs, out of the source tree. */
  cacheDir: string;
}

export const pythonArguments = ({ cacheDir }: Python, script: string, verb: string, launch: Launch): string[] => [
  '-I',
  '-S',
  '-X',
  'utf8',
  '-X',
  `pycache_prefix=${cacheDir}`,
  script,
  verb,
  launch.directory,
];

// Only what an interpreter outside the system's directories may need to find its own library: no secret passes here.
export const pythonEnvironment = (): NodeJS.ProcessEnv =>
  process.env.LD_LIBRARY_PATH ? { LD_LIBRARY_PATH: process.env.LD_LIBRARY_PATH } : {};

/** Hands `message` to the program's input and resolves when it says on its output that it is ready. */
export async function startDetached(
  python: Python,
  script: string,
  verb: string,
  launch: Launch,
  message: string,
): Promise<void> {
  const complaints = await open(join(launch.directory, 'supervisor.log'), 'a', 0o600);
  try {
    const child = spawn(python.python, pythonArguments(python, script, verb, launch), {
      cwd: '/',
      detached: true,
      env: pythonEnvironment(),
      stdio: ['pipe', 'pipe', complaints.fd],
    });
    await handOver(child, message, launch);
  } finally {
    await complaints.close();
  }
}

async function handOver(child: ChildProcess, message: string, launch: Launch): Promise<void> {
  const { stdin, stdout } = child;
  if (!stdin || !stdout) throw new Error('The supervisor has no pipes.');
  const ended = once(child, 'close').then(() => false);
  const ready = once(stdout, 'data').then(() => true);
  // A supervisor that dies early is reported by its exit, not by the broken pipe.
  stdin.on('error', () => undefined);
  stdin.end(message);
  if (!(await Promise.race([ready, ended]))) {
    const complaint = await readIfThere(join(launch.directory, 'supervisor.log'));
    throw new Error(
      `The supervisor of ${launch.name} did not start: ${complaint?.trim().slice(-500) || 'it said nothing'}`,
    );
  }
  stdout.destroy();
  child.unref();
}
