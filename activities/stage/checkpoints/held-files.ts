// Which files somebody on this node holds open for writing, as far as /proc lets this process see.
import { readdir, readFile, readlink, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { mapLimited } from '#lake/map-limited.ts';
import type { SeenFile } from './look.ts';

const processesAtOnce = 8;

/**
 * Identities of those of the files that a process of their owner holds open for writing. Containers are seen like any
 * other process of the node. A mapping of a closed file is not seen, and elsewhere than on Linux nothing is.
 */
export async function heldForWriting(files: readonly SeenFile[]): Promise<Set<string>> {
  const held = new Set<string>();
  if (files.length === 0 || process.platform !== 'linux') return held;
  const owners = new Set(files.map(({ owner }) => owner));
  // A descriptor is told by its file's present name, which is also its name in another mount namespace.
  const byName = Map.groupBy(files, ({ path }) => basename(path));
  const pids = (await readdir('/proc')).filter((entry) => /^\d+$/.test(entry) && entry !== String(process.pid));
  await mapLimited(pids, processesAtOnce, async (pid) => {
    const owner = await orGone(async () => (await stat(`/proc/${pid}`)).uid);
    if (owner === null || !owners.has(owner)) return;
    for (const fd of (await orGone(() => readdir(`/proc/${pid}/fd`))) ?? []) {
      const target = await orGone(() => readlink(`/proc/${pid}/fd/${fd}`));
      if (target === null || !byName.has(basename(target))) continue;
      const identity = await orGone(() => identityIfWriting(pid, fd));
      if (identity !== null) held.add(identity);
    }
  });
  return held;
}

async function identityIfWriting(pid: string, fd: string): Promise<string | null> {
  const { dev, ino } = await stat(`/proc/${pid}/fd/${fd}`, { bigint: true });
  const flags = /^flags:\s*([0-7]+)$/m.exec(await readFile(`/proc/${pid}/fdinfo/${fd}`, 'utf8'))?.[1] ?? '0';
  // O_WRONLY is 1 and O_RDWR is 2, as in open(2).
  return (Number.parseInt(flags, 8) & 3) === 0 ? null : `${dev}.${ino}`;
}

/** Processes end while they are looked at, and those of others are not shown. */
async function orGone<R>(look: () => Promise<R>): Promise<R | null> {
  try {
    return await look();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH' || code === 'EACCES' || code === 'EPERM') return null;
    throw error;
  }
}
