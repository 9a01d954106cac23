import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';

/** A pid alone is reused by the system; with its start and its boot it names one process for ever. */
export interface ProcessIdentity {
  pid: number | null;
  processStart: string | null;
  bootId: string;
}

/** The identity of this process. */
export async function ownIdentity(): Promise<ProcessIdentity> {
  return { pid: process.pid, processStart: await startOf(process.pid), bootId: await bootId() };
}

/** True while exactly that process exists. A zombie does not. */
export async function isAlive(identity: ProcessIdentity): Promise<boolean> {
  if (identity.pid === null || identity.bootId !== (await bootId())) return false;
  return (await startOf(identity.pid)) === identity.processStart;
}

async function bootId(): Promise<string> {
  return process.platform === 'linux' ? (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim() : '';
}

async function startOf(pid: number): Promise<string | null> {
  return process.platform === 'linux' ? startFromProc(pid) : startFromPs(pid);
}

// Field numbers are those of proc(5); the name in field 2 may contain anything, so counting starts behind it.
async function startFromProc(pid: number): Promise<string | null> {
  const line = await readFile(`/proc/${pid}/stat`, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ESRCH') return null;
    throw error;
  });
  const fields = line?.slice(line.lastIndexOf(')') + 2).split(' ');
  return fields && fields[0] !== 'Z' && fields[0] !== 'X' ? (fields[22 - 3] ?? null) : null;
}

async function startFromPs(pid: number): Promise<string | null> {
  const listed = promisify(execFile)('/bin/ps', ['-o', 'lstart=', '-p', String(pid)], { env: {} });
  // The command fails where there is no such process.
  const text = await listed.then(({ stdout }) => stdout.trim().split(/\s+/).join(' ')).catch(() => '');
  return text || null;
}
