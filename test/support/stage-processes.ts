// The processes of stages on this machine, found by the launches of a stage worker's home.
import { createHash } from 'node:crypto';
import { createReadStream, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Names of the launches that the runner of this home holds. */
export function launchesIn(home: string): string[] {
  try {
    return readdirSync(join(home, 'launches')).filter((name) => !name.startsWith('.'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

/** Stages that run, or their supervisors, with the names of their launches. */
export function stageProcesses(home: string, kind: 'supervisor' | 'stage'): Array<{ pid: number; launch: string }> {
  return launchesIn(home).flatMap((launch) => {
    const state = join(home, 'launches', launch, 'state');
    const claim = readIfThere(join(state, 'supervisor.json'));
    if (claim === null || readIfThere(join(state, 'exit.json')) !== null) return [];
    const { pid } = JSON.parse(claim) as { pid: number | null };
    if (pid === null) return [];
    const pids = kind === 'supervisor' ? [pid].filter((id) => parentOf(id) !== null) : childrenOf(pid);
    return pids.map((id) => ({ pid: id, launch }));
  });
}

/** Whether the disk store below this folder has the blob, undamaged. */
export async function isWholeOnDisk(blobs: string, sha256: string): Promise<boolean> {
  const hash = createHash('sha256');
  try {
    for await (const chunk of createReadStream(join(blobs, 'objects', sha256.slice(0, 2), sha256)))
      hash.update(chunk as Buffer);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
  return hash.digest('hex') === sha256;
}

export function childrenOf(parent: number): number[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number)
    .filter((pid) => parentOf(pid) === parent);
}

export function parentOf(pid: number): number | null {
  const stat = readIfThere(`/proc/${pid}/stat`);
  return stat === null ? null : Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
}

export function commandOf(pid: number): string {
  return (readIfThere(`/proc/${pid}/cmdline`) ?? '').replaceAll('\0', ' ');
}

function readIfThere(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH' || code === 'EACCES') return null;
    throw error;
  }
}
