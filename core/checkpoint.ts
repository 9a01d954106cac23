// Checkpoints: what a stage keeps of its progress, as sets of files that are restored before it starts again.
import { canonicalJson } from './canonical.ts';

export interface CheckpointFile {
  /** Below the checkpoint directory. */
  path: string;
  sha256: string;
  sizeBytes: number;
  executable: boolean;
  /** Scripts choose the newest file by it, so it is restored; it is no part of the digest. */
  modifiedAtMs: number;
}

/** The set that an attempt started from. */
export interface RestoredFrom {
  /** Label of the run that made the set. */
  run: string;
  attempt: number;
  set: number;
  files: number;
  sizeBytes: number;
  /** True for the checkpoints of another run that this one was submitted with. */
  initial: boolean;
}

/** Newest complete sets that are kept per run, step and step key. */
export const setsKept = 2;

/** The caller hashes it: equal text, equal files. */
export function checkpointSetText(files: readonly CheckpointFile[]): string {
  const sorted = files.toSorted((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
  return canonicalJson(sorted.map(({ path, sha256, executable }) => [path, sha256, executable]));
}

/** `RUN` or `RUN:STEP`; neither ids nor labels of runs have a colon. */
export function parseInitFrom(text: string): { run: string; step: string | null } {
  const at = text.indexOf(':');
  return at === -1 ? { run: text, step: null } : { run: text.slice(0, at), step: text.slice(at + 1) };
}
