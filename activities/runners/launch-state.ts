// What supervisor and worker know of each other, as files in the launch's directory. The worker only reads them.

import { open, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { isAlive, type ProcessIdentity } from './process-identity.ts';
import type { StageExit, StageStats } from './runner.ts';

/** A launch that nobody claimed within this time will never be: its worker died between two steps of the start. */
const claimMs = 10_000;

export interface Launch {
  name: string;
  directory: string;
}

export const stateDirectoryOf = (launch: Launch): string => join(launch.directory, 'state');

export async function readIfThere(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

export async function readExit(launch: Launch): Promise<StageExit | null> {
  const text = await readIfThere(join(stateDirectoryOf(launch), 'exit.json'));
  return text === null ? null : (JSON.parse(text) as StageExit);
}

export async function readSupervisor(launch: Launch): Promise<ProcessIdentity | null> {
  const text = await readIfThere(join(stateDirectoryOf(launch), 'supervisor.json'));
  return text === null ? null : (JSON.parse(text) as ProcessIdentity);
}

/** True while somebody will still write the exit. A launch is given time to be claimed before it counts as lost. */
export async function isSupervised(launch: Launch): Promise<boolean> {
  const supervisor = await readSupervisor(launch);
  if (supervisor) return isAlive(supervisor);
  return Date.now() - (await stat(launch.directory)).mtimeMs < claimMs;
}

export async function readLog(launch: Launch, fromByte: number, maxBytes: number): Promise<Buffer> {
  const file = await open(join(launch.directory, 'log'), 'r').catch(nullIfMissing);
  if (!file) return Buffer.alloc(0);
  try {
    const { size } = await file.stat();
    const buffer = Buffer.allocUnsafe(Math.max(0, Math.min(maxBytes, size - fromByte)));
    const { bytesRead } = await file.read(buffer, 0, buffer.length, fromByte);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

export async function readStats(launch: Launch): Promise<StageStats> {
  const log = await stat(join(launch.directory, 'log')).catch(nullIfMissing);
  const exit = await readExit(launch);
  if (exit) return { memoryBytes: 0, cpuSeconds: exit.cpuSeconds, logBytes: log?.size ?? 0 };
  const sample = JSON.parse((await readIfThere(join(launch.directory, 'stats.json'))) ?? '{}') as Partial<StageStats>;
  return { memoryBytes: sample.memoryBytes ?? 0, cpuSeconds: sample.cpuSeconds ?? 0, logBytes: log?.size ?? 0 };
}

function nullIfMissing(error: NodeJS.ErrnoException): null {
  if (error.code === 'ENOENT') return null;
  throw error;
}
