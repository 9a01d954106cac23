// Carries a stage's checkpoints to where the next attempt finds them, while the stage runs. Never its trouble: whatever
// goes wrong here becomes a note on the attempt, and the stage goes on.
import { createHash } from 'node:crypto';
import { join, relative } from 'node:path';
import { type CheckpointFile, checkpointSetText } from '#core/checkpoint.ts';
import { DomainError } from '#core/errors.ts';
import { setNotes } from '#db/attempts.ts';
import { newestSetDigest, putCheckpointSet } from '#db/checkpoints.ts';
import { mapLimited } from '#lake/map-limited.ts';
import type { StageExit } from '#activities/runners/runner.ts';
import type { Watch } from '#activities/stage/watch.ts';
import { closedAtEnd, closedFiles, lookMs, type Stop } from './closed-files.ts';
import { heldForWriting } from './held-files.ts';
import { type KnownFiles, readKnownFiles, writeKnownFiles } from './known-files.ts';
import { type Look, lookAt, type SeenFile } from './look.ts';
import { storeFile } from './store-file.ts';

/** Many files are looked at less often: a look at one takes about a twentieth of this. */
const lookMsPerFile = 0.5;
const pauseMsMax = 60_000;
/** A directory that is never at rest is kept without the files that are not: a log, for example. */
const restlessMs = 60_000;
const notesMax = 20;
/** Small files wait for the disk and for Postgres; of others there is one at a time. */
const smallBytesMax = 1024 * 1024;
const smallAtOnce = 8;

export interface CheckpointWatch {
  /** Sentences about the checkpoints, for the attempt. */
  notes(): string[];
  /** Before the stage is asked to end: what it is writing at this moment may stay half. */
  beforeStop(killAfterMs: number): Promise<void>;
  /** After the stage's end: what it wrote last becomes its last set. Takes at most about `withinMs`. */
  finish(exit: StageExit, withinMs: number): Promise<void>;
  /** Stops; another worker may go on. */
  abandon(): Promise<void>;
}

export async function watchCheckpoints(watch: Watch): Promise<CheckpointWatch> {
  const { deps, attempt, space } = watch;
  const directory = space.directories.checkpoint;
  const notes = createNotes(watch);
  const known: KnownFiles = await readKnownFiles(space.folder).catch(() => new Map());
  let newest = await newestSetDigest(deps.db, attempt);
  /** Path → stamp of the newest set, once this watcher has seen it. */
  let recorded = new Map<string, string>();
  let before = new Set<string>();
  let restlessSince: number | null = null;
  let superseded = false;
  let stopped: Stop | null = null;
  let filesSeen = 0;
  const ending = new AbortController();
  const outOfTime = new AbortController();
  const pace = { isSlow: () => !ending.signal.aborted, signal: outOfTime.signal };

  /** Stores what is not stored yet; answers those that are, as they were seen. */
  async function store(closed: readonly SeenFile[]): Promise<SeenFile[]> {
    const storeOne = async (file: SeenFile) => {
      if (known.has(file.stamp)) return;
      const sha256 = await storeFile(deps, space.folder, pathOf(file), file, pace);
      if (sha256 !== null) known.set(file.stamp, sha256);
    };
    const [small, large] = partition(closed, ({ sizeBytes }) => sizeBytes <= smallBytesMax);
    await mapLimited(small, smallAtOnce, storeOne);
    for (const file of large) await storeOne(file);
    return closed.filter(({ stamp }) => known.has(stamp));
  }

  const pathOf = (file: SeenFile) => join(relative(space.folder, directory), file.path);

  async function pass(exit: StageExit | null): Promise<void> {
    const look = await lookAt(space.folder, directory);
    filesSeen = look.files.length;
    await notes.add(look.notes);
    const closed = exit === null ? await closedFiles(look, before, known) : closedAtEnd(look, exit, stopped, known);
    before = new Set(look.files.map(({ stamp }) => stamp));
    if (isRecorded(look.files)) return;
    const stored = await store(closed);
    if (stored.length === 0 || !(exit === null ? isDue(look, stored) : isWorthKeeping(look, stored))) return;
    await record(stored);
    restlessSince = null;
  }

  const isRecorded = (files: readonly SeenFile[]): boolean =>
    files.length === recorded.size && files.every(({ path, stamp }) => recorded.get(path) === stamp);

  /** All at rest makes a set. What is never at rest waits for a while, and then only something new makes one. */
  function isDue(look: Look, stored: readonly SeenFile[]): boolean {
    if (stored.length === look.files.length) return true;
    restlessSince ??= Date.now();
    return Date.now() - restlessSince >= restlessMs && hasNew(stored);
  }

  /** Without what may be half of a file, unless the newest set has it whole. */
  function isWorthKeeping(look: Look, stored: readonly SeenFile[]): boolean {
    const paths = new Set(stored.map(({ path }) => path));
    return hasNew(stored) && look.files.every(({ path }) => paths.has(path) || !recorded.has(path));
  }

  const hasNew = (stored: readonly SeenFile[]): boolean =>
    stored.some(({ path, stamp }) => recorded.get(path) !== stamp);

  async function record(files: readonly SeenFile[]): Promise<void> {
    const set = files.map((file) => checkpointFile(file, known));
    const digest = createHash('sha256').update(checkpointSetText(set)).digest('hex');
    if (digest !== newest) {
      try {
        superseded = (await putCheckpointSet(deps.db, attempt, digest, set)) === null;
      } catch (error) {
        // Collected since: it was in no set for days.
        if (error instanceof DomainError && error.code === 'blob-missing') known.clear();
        throw error;
      }
      if (superseded) return;
      newest = digest;
    }
    recorded = new Map(files.map(({ path, stamp }) => [path, stamp]));
    for (const stamp of known.keys()) if (!before.has(stamp)) known.delete(stamp);
    await writeKnownFiles(space.folder, known);
  }

  const loop = (async () => {
    let failures = 0;
    while (!ending.signal.aborted && !superseded) {
      try {
        await pass(null);
        failures = 0;
      } catch (error) {
        failures += 1;
        await notes.add([troubleSentence(error)]);
      }
      await pause(Math.min(pauseMsMax, Math.max(lookMs, filesSeen * lookMsPerFile) * 2 ** failures), ending.signal);
    }
  })();

  const stop = async () => {
    ending.abort();
    await loop;
  };
  return {
    notes: notes.all,
    async beforeStop(killAfterMs) {
      // Whatever keeps it from being known, the stage is stopped, and its files count as those of a killed one.
      const held = await lookAt(space.folder, directory)
        .then(({ files }) => heldForWriting(files))
        .catch(() => null);
      const atMs = Date.now();
      stopped = held && { atMs, killAtMs: atMs + killAfterMs, held };
    },
    async abandon() {
      outOfTime.abort(new Error('Nobody watches the checkpoints any more.'));
      await stop();
    },
    async finish(exit, withinMs) {
      const timer = setTimeout(() => outOfTime.abort(new Error('there was no more time')), withinMs);
      const until = Date.now() + withinMs;
      try {
        await stop();
        // Nobody saw how it ended, or nothing ever ran.
        if (exit.reason === 'vanished' || exit.reason === 'launch-failed') return;
        while (!superseded) {
          const error = await pass(exit).then(
            () => null,
            (reason: unknown) => ({ reason }),
          );
          if (error === null) return;
          if (Date.now() + lookMs > until || isDiskFull(error.reason)) {
            return await notes.add([troubleSentence(error.reason)]);
          }
          await pause(lookMs, outOfTime.signal);
        }
      } finally {
        clearTimeout(timer);
      }
    },
  };
}

function partition<T>(items: readonly T[], isFirst: (item: T) => boolean): [T[], T[]] {
  return [items.filter(isFirst), items.filter((item) => !isFirst(item))];
}

/** Shown on the attempt at once, and handed over at its end. */
function createNotes({ deps, attempt }: Watch) {
  const given = attempt.facts?.notes;
  const notes = Array.isArray(given) ? (given as string[]) : [];
  return {
    all: () => [...notes],
    async add(sentences: readonly string[]): Promise<void> {
      const fresh = sentences.filter((sentence) => !notes.includes(sentence));
      if (fresh.length === 0 || notes.length >= notesMax) return;
      notes.push(...fresh);
      // The end of the attempt writes them too.
      await setNotes(deps.db, attempt, notes).catch(() => undefined);
    },
  };
}

function checkpointFile(file: SeenFile, known: KnownFiles): CheckpointFile {
  const { path, stamp, sizeBytes, executable, modifiedAtMs } = file;
  return { path, sha256: known.get(stamp) ?? '', sizeBytes, executable, modifiedAtMs };
}

function isDiskFull(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOSPC' || code === 'EDQUOT';
}

function troubleSentence(error: unknown): string {
  const reason = isDiskFull(error) ? 'the disk is full' : error instanceof Error ? error.message : String(error);
  return `Checkpoints could not be stored for a while, and the stage went on without: ${reason.slice(0, 300)}.`;
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener(
      'abort',
      () => {
        clearTimeout(timer);
        resolve();
      },
      { once: true },
    );
  });
}
