// Keeps a stage from filling the disk of its node, which would take every other stage and the platform with it.
import { execFile } from 'node:child_process';
import { statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Runner } from '#activities/runners/runner.ts';
import { noteDiskStop } from '#activities/stage/disk-stop.ts';
import { workspaceFolders } from '#activities/stage/workspace.ts';
import type { Logger } from '#worker/logger.ts';
import { startTicking } from '#worker/ticking.ts';

const everyMs = 3_000;
const measureMs = 60_000;
const bytesPerMib = 1024 ** 2;
/** Stopping a smaller stage would not save the disk: something else fills it. */
const largeBytes = 64 * bytesPerMib;
const leastReserve = { bytes: 1024 * bytesPerMib, part: 0.02 };

export interface DiskGuardDeps {
  runner: Runner;
  workDir: string;
  /** Null takes the larger of 1 GiB and 2 % of the disk. */
  reserveBytes: number | null;
  log: Logger;
}

/** While less than the reserve is free, the stage with the largest workspace is killed, one at a time. */
export function startDiskGuard(deps: DiskGuardDeps): { stop(): Promise<void> } {
  const stopped = new Set<string>();
  return startTicking(everyMs, () => guardDisk(deps, stopped), deps.log, 'guarding the disk');
}

async function guardDisk(deps: DiskGuardDeps, stopped: Set<string>): Promise<void> {
  const { bavail, blocks, bsize } = await statfs(deps.workDir);
  const freeBytes = bavail * bsize;
  const reserveBytes = deps.reserveBytes ?? Math.max(leastReserve.bytes, blocks * bsize * leastReserve.part);
  if (freeBytes >= reserveBytes) return;
  const names = await deps.runner.list();
  // Its files go when its end is recorded; until then nobody knows whether that was enough.
  if (names.some((name) => stopped.has(name))) return;
  stopped.clear();
  const sizes = await Promise.all(
    names.map(async (name) => ({ name, bytes: await sizeOf(workspaceFolders(deps.workDir, name)) })),
  );
  const largest = sizes.toSorted((a, b) => b.bytes - a.bytes)[0];
  if (largest === undefined || largest.bytes < largeBytes) {
    deps.log.warn({ freeBytes, reserveBytes }, 'the disk of this node is nearly full, and no stage is why');
    return;
  }
  const { name, bytes } = largest;
  const sentence = `was stopped because the disk of its node was nearly full (${mib(freeBytes)} free of a reserve of ${mib(reserveBytes)}) and its files were the largest there, ${mib(bytes)}; write less, or use a node with a larger disk.`;
  deps.log.warn({ launch: name, bytes, freeBytes, reserveBytes }, 'the largest stage is stopped to save the disk');
  stopped.add(name);
  // The stage goes in any case: on a disk that is quite full the note may find no room.
  await noteDiskStop(join(deps.workDir, name), sentence).catch((error: unknown) =>
    deps.log.warn({ error, launch: name }, 'why the stage is stopped could not be noted'),
  );
  await (await deps.runner.attach(name))?.signal('kill');
}

/** What the folders take on this disk; files that come and go meanwhile make du fail and its sums no less useful. */
async function sizeOf(folders: readonly string[]): Promise<number> {
  const measured = promisify(execFile)('du', ['-skx', ...folders], { timeout: measureMs });
  const { stdout } = await measured.catch((error: { stdout?: string }) => ({ stdout: error.stdout ?? '' }));
  const sums = stdout.split('\n').map((line) => Number(line.split('\t')[0]));
  return sums.reduce((total, kib) => total + kib, 0) * 1024;
}

function mib(bytes: number): string {
  return `${Math.round(bytes / bytesPerMib)} MiB`;
}
