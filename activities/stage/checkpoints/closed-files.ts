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

/** The request to end, as it was made. */
export interface Stop {
  atMs: number;
  /** When what is left is killed. */
  killAtMs: number;
  /** Identities of files that were held open for writing at that moment. */
  held: ReadonlySet<string>;
}

/** A process that a request to end kills writes nothing after this time. */
const dyingMs = 500;

/**
 * Once the stage has ended: all files, where it ended by itself or in its grace. What a killed stage wrote in its last
 * moment may be half of a file, so only what was left alone for as long as between two looks counts.
 */
export function closedAtEnd(look: Look, exit: StageExit, stop: Stop | null, known: KnownFiles): SeenFile[] {
  if (isOrderly(look, exit, stop)) return look.files;
  const before = Date.parse(exit.finishedAt) - lookMs;
  return look.files.filter(({ stamp, modifiedAtMs }) => known.has(stamp) || modifiedAtMs <= before);
}

function isOrderly(look: Look, exit: StageExit, stop: Stop | null): boolean {
  if (exit.reason === 'exited') return !killedCodes.has(exit.code ?? 0);
  // The shell around a command dies of the request, while the command itself may save what it has and end by itself.
  if (stop === null || exit.signal !== 'SIGTERM' || Date.parse(exit.finishedAt) >= stop.killAtMs) return false;
  return !look.files.some((file) => stop.held.has(file.identity) && file.modifiedAtMs <= stop.atMs + dyingMs);
}
