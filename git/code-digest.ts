import { createHash } from 'node:crypto';
import picomatch from 'picomatch';
import type { TreeEntry } from './tree.ts';

export const ignoreFile = '.assayignore';

/** One pattern of an ignore file: gitignore(5) knows neither braces nor extended globs. */
export function ignoreGlob(pattern: string): (path: string) => boolean {
  return picomatch(pattern, { dot: true, nobrace: true, noextglob: true });
}

/** A glob of a project file over paths or branches, without what takes exponential time to match. */
export function pathGlob(pattern: string): (path: string) => boolean {
  return picomatch(pattern, { dot: true, noextglob: true, nonegate: true });
}

/**
 * The identity of the code a stage can read: sha256 over the (mode, oid, path) lines, in hexadecimal. Which entries
 * count is core's rule (code-scope.ts); they come sorted by path, as listTree gives them.
 */
export function digestEntries(entries: readonly TreeEntry[]): string {
  const hash = createHash('sha256');
  for (const entry of entries) hash.update(`${entry.mode} ${entry.oid} ${entry.path}\0`);
  return hash.digest('hex');
}
