// Objects from outside are first written into a repository of their own, next to the mirrors. The mirror holds only
// complete, checked history, so a half-written or hostile transfer never has to be cleaned out of it.
import { randomUUID } from 'node:crypto';
import { mkdir, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { runGit } from './command.ts';

export interface Quarantine {
  /** Private to this transfer, mode 0700, removed with it. */
  dir: string;
  gitDir: string;
}

// A restarted container may get the pid of the one that died, so a process also knows itself by this.
const instance = randomUUID();

function quarantineRoot(rootDir: string): string {
  return join(rootDir, 'quarantine');
}

/** Runs `task` with an empty repository that sees the mirror's objects, and removes it afterwards. */
export async function withQuarantine<T>(
  rootDir: string,
  mirrorDir: string,
  task: (quarantine: Quarantine) => Promise<T>,
): Promise<T> {
  const dir = join(quarantineRoot(rootDir), `${hostname()},${process.pid},${instance},${randomUUID()}`);
  await mkdir(dir, { recursive: true, mode: 0o700 });
  try {
    const gitDir = join(dir, 'repository.git');
    await initRepository(gitDir);
    await writeFile(join(gitDir, 'objects', 'info', 'alternates'), `${join(mirrorDir, 'objects')}\n`);
    return await task({ dir, gitDir });
  } finally {
    await rm(dir, { recursive: true, force: true, maxRetries: 3 });
  }
}

/** An empty bare repository without the hooks and samples that git's templates bring. */
export async function initRepository(gitDir: string): Promise<void> {
  await runGit(['init', '--quiet', '--bare', '--template=', '--object-format=sha1', '--', gitDir]);
  await mkdir(join(gitDir, 'info'), { recursive: true });
  await mkdir(join(gitDir, 'objects', 'info'), { recursive: true });
}

/**
 * Moves the packs of a finished transfer into the mirror. The index goes last: git looks for packs by their index, so a
 * pack is visible only when it is whole.
 */
export async function movePacks(quarantine: Quarantine, mirrorDir: string): Promise<void> {
  const from = join(quarantine.gitDir, 'objects', 'pack');
  const to = join(mirrorDir, 'objects', 'pack');
  const names = (await readdir(from)).filter((name) => /^pack-[0-9a-f]+\.(?:pack|rev|idx)$/.test(name));
  const order = ['pack', 'rev', 'idx'];
  const rank = (name: string) => order.indexOf(name.slice(name.lastIndexOf('.') + 1));
  for (const name of names.toSorted((a, b) => rank(a) - rank(b))) await rename(join(from, name), join(to, name));
}

/** Bytes in the quarantine's object directory: what a transfer has written so far. */
export async function transferredBytes(quarantine: Quarantine): Promise<number> {
  const dir = join(quarantine.gitDir, 'objects', 'pack');
  let sizeBytes = 0;
  for (const name of await readdir(dir)) {
    const found = await stat(join(dir, name)).catch(ignoreMissing);
    sizeBytes += found?.size ?? 0;
  }
  return sizeBytes;
}

export function ignoreMissing(error: unknown): null {
  if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
  throw error;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

// Another host sharing the directory cannot be asked whether it lives; there only age decides.
async function isStale(dir: string, name: string, ageMsMax: number): Promise<boolean> {
  const [host, pid, owner] = name.split(',');
  if (host === hostname() && owner !== instance) {
    if (Number(pid) === process.pid || !isAlive(Number(pid))) return true;
  }
  const found = await stat(join(dir, name)).catch(ignoreMissing);
  return found !== null && Date.now() - found.mtimeMs > ageMsMax;
}

/** Removes what transfers of dead processes left. `ageMsMax` must exceed every transfer's time cap. */
export async function sweepQuarantine(rootDir: string, ageMsMax: number): Promise<void> {
  const dir = quarantineRoot(rootDir);
  for (const name of (await readdir(dir).catch(ignoreMissing)) ?? []) {
    if (await isStale(dir, name, ageMsMax)) await rm(join(dir, name), { recursive: true, force: true, maxRetries: 3 });
  }
}
