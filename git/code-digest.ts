import { createHash } from 'node:crypto';
import { codeFilter, ignoreFilter, type PathFilter } from './ignore.ts';
import type { TreeEntry } from './tree.ts';

export interface CodeSelection {
  /**
   * Exact paths whose content enters a step key by itself: the project file, the parameter file, queries and requirement
   * files.
   */
  leaveOut: readonly string[];
  /** The text of .assayignore. */
  ignore?: string;
  /** A stage's `code:` globs; the stage gets only these. */
  code?: readonly string[];
}

export interface CodeDigest {
  /** sha256 over the sorted (mode, oid, path) lines, in hexadecimal. */
  digest: string;
  /** What entered, sorted by path; two of these lists explain why two digests differ. */
  files: TreeEntry[];
}

export const ignoreFile = '.assayignore';

// Text for people at the root of a repository. Deeper ones may well be data that code reads.
const documents = /^(?:README|LICENSE|CHANGELOG)[^/]*$/i;
const hosting = /^\.github\//;

function isDocument(path: string): boolean {
  return documents.test(path) || hosting.test(path) || path === ignoreFile;
}

/** The paths a stage gets: all, or those its `code:` names. */
export function stageFiles(code: readonly string[] | undefined): PathFilter {
  return code === undefined ? () => true : codeFilter(code);
}

/** The identity of the code a stage can read. `entries` come sorted from listTree. */
export function codeDigest(entries: readonly TreeEntry[], selection: CodeSelection): CodeDigest {
  const leftOut = new Set(selection.leaveOut);
  const ignored = ignoreFilter(selection.ignore ?? '');
  const wanted = stageFiles(selection.code);
  const files = entries.filter(
    (entry) => wanted(entry.path) && !leftOut.has(entry.path) && !isDocument(entry.path) && !ignored(entry.path),
  );
  return { digest: digestEntries(files), files };
}

/** sha256 over the (mode, oid, path) lines, in hexadecimal; the entries come sorted by path, as listTree gives them. */
export function digestEntries(entries: readonly TreeEntry[]): string {
  const hash = createHash('sha256');
  for (const entry of entries) hash.update(`${entry.mode} ${entry.oid} ${entry.path}\0`);
  return hash.digest('hex');
}
