// Puts the newest usable checkpoints into a stage's directory before it starts.
import { lstat, mkdir, utimes } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { CheckpointFile, RestoredFrom } from '#core/checkpoint.ts';
import { DomainError } from '#core/errors.ts';
import { setNotes } from '#db/attempts.ts';
import {
  type CheckpointSet,
  findCheckpointSets,
  getInitialCheckpoint,
  listCheckpointFiles,
  noteRestored,
} from '#db/checkpoints.ts';
import { namingDamage } from '#activities/damage.ts';
import { mapLimited } from '#lake/map-limited.ts';
import { removeTree } from '#activities/stage/remove-tree.ts';
import type { Watch } from '#activities/stage/watch.ts';
import { type KnownFiles, writeKnownFiles } from './known-files.ts';
import { stampOf } from './look.ts';

const copiedAtOnce = 8;

/**
 * The newest own set of the same step key, else those that the run was submitted with, else nothing. A set with a
 * damaged or missing file gives way to the one before, which is said. @throws blob-missing, blob-corrupt for checkpoints
 * that the run was submitted with, because they are part of what it was asked for
 */
export async function restoreCheckpoints(watch: Watch): Promise<void> {
  const { deps, attempt } = watch;
  const restoredFrom = (await restoreOwn(watch)) ?? (await restoreInitial(watch));
  if (restoredFrom === null && attempt.restoredFrom === null) return;
  await noteRestored(deps.db, attempt, restoredFrom);
  watch.attempt = { ...watch.attempt, restoredFrom };
}

async function restoreOwn(watch: Watch): Promise<RestoredFrom | null> {
  const notes: string[] = [];
  for (const set of await findCheckpointSets(watch.deps.db, watch.attempt)) {
    try {
      await place(watch, set);
      await say(watch, notes);
      return restoredFromOf(set, false);
    } catch (error) {
      const isDamaged =
        error instanceof DomainError && (error.code === 'blob-missing' || error.code === 'blob-corrupt');
      if (!isDamaged) throw error;
      notes.push(`Checkpoint set ${set.number} of ${set.label} was passed over: ${error.message}`);
    }
  }
  if (notes.length > 0) await empty(watch);
  await say(watch, notes);
  return null;
}

async function restoreInitial(watch: Watch): Promise<RestoredFrom | null> {
  const set = await getInitialCheckpoint(watch.deps.db, watch.attempt.runId);
  if (set === null || set.step !== watch.stage.name) return null;
  await namingDamage(
    `Checkpoint set ${set.number} of ${set.label}, which this run is to start from,`,
    'Submit it again with another run behind --init-from.',
    () => place(watch, set),
  );
  return restoredFromOf(set, true);
}

async function say(watch: Watch, notes: readonly string[]): Promise<void> {
  if (notes.length === 0) return;
  await setNotes(watch.deps.db, watch.attempt, notes);
  watch.attempt = { ...watch.attempt, facts: { ...watch.attempt.facts, notes: [...notes] } };
}

async function empty({ space }: Watch): Promise<void> {
  await removeTree(space.directories.checkpoint);
  await mkdir(space.directories.checkpoint, { recursive: true });
}

async function place(watch: Watch, set: CheckpointSet): Promise<void> {
  const files = await listCheckpointFiles(watch.deps.db, set);
  await empty(watch);
  const known: KnownFiles = new Map();
  await mapLimited(files, copiedAtOnce, async (file) => {
    known.set(await copy(watch, file), file.sha256);
  });
  await writeKnownFiles(watch.space.folder, known);
}

/** Answers the stamp of the copy. */
async function copy({ deps, space }: Watch, file: CheckpointFile): Promise<string> {
  const path = join(space.directories.checkpoint, file.path);
  await mkdir(dirname(path), { recursive: true });
  await deps.store.copyTo(file.sha256, path, { mode: file.executable ? 0o755 : 0o644 });
  const modifiedAt = file.modifiedAtMs / 1000;
  await utimes(path, modifiedAt, modifiedAt);
  return stampOf(await lstat(path, { bigint: true }));
}

function restoredFromOf({ label, fence, number, files, sizeBytes }: CheckpointSet, initial: boolean): RestoredFrom {
  return { run: label, attempt: fence, set: number, files, sizeBytes, initial };
}

/** One line for the log, the same whenever it is asked for. */
export function restoredLine({ run, attempt, set, files, sizeBytes, initial }: RestoredFrom): string {
  const what = `${files} checkpoint ${files === 1 ? 'file' : 'files'} (${sizeBytes} bytes)`;
  const why = initial ? ', which this run was asked to start from' : '';
  return `[assay] Starts with ${what} from set ${set} of ${run}, attempt ${attempt}${why}.\n`;
}
