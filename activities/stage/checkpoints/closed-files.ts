// The rule by which a file counts as closed, so that no half of a checkpoint is ever stored as a whole.
import type { StageExit } from '#activities/runners/runner.ts';
import { heldForWriting } from './held-files.ts';
import type { KnownFiles } from './known-files.ts';
import type { Look, SeenFile } from './look.ts';

/** Between two looks. */
export const lookMs = 1_000;

/**
 * While the stage runs: what the look before saw with the same size, modification time and inode, under whatever name,
 * and what nobody holds open for writing.
 */
export async function closedFiles(look: Look, before: ReadonlySet<string>, known: KnownFiles): Promise<SeenFile[]> {
  const unchanged = look.files.filter(({ stamp }) => before.has(stamp));
  const held = await heldForWriting(unchanged.filter(({ stamp }) => !known.has(stamp)));
  return unchanged.filter(({ identity }) => !held.has(identity));
}

/** Ends by which a program or its shell tells that a signal nobody handles killed it in the middle of something. */
const killedCodes = new Set([132, 134, 135, 136, 137, 139]);

/**
 * Once the stage has ended: all files, where it ended by itself. What a killed stage wrote in its last moment may be half
 * of a file, so only what was left alone for as long as between two looks counts.
 */
export function closedAtEnd(look: Look, exit: StageExit, known: KnownFiles): SeenFile[] {
  if (exit.reason === 'exited' && !killedCodes.has(exit.code ?? 0)) return look.files;
  const before = Date.parse(exit.finishedAt) - lookMs;
  return look.files.filter(({ stamp, modifiedAtMs }) => known.has(stamp) || modifiedAtMs <= before);
}
