// What differs between the code of a stage at two commits, as its digest sees it.
import type { CodeChange } from '#core/step-difference.ts';
import type { CodeDiff } from '#git/diff.ts';
import type { TreeEntry } from '#git/tree.ts';

/** Sorted by path. A file of one side only that both trees have belongs to the stage's code in one only. */
export function codeChanges(was: readonly TreeEntry[], is: readonly TreeEntry[], { files }: CodeDiff): CodeChange[] {
  const [old, now] = [byPath(was), byPath(is)];
  const diffs = new Map(files.map((file) => [file.path, file]));
  const differing = [
    ...was.filter((entry) => !isEqual(entry, now.get(entry.path))),
    ...is.filter(({ path }) => !old.has(path)),
  ].map(({ path }) => path);
  return differing.toSorted().map((path): CodeChange => {
    const [a, b, diff] = [old.get(path), now.get(path), diffs.get(path)];
    if (a === undefined) return { path, change: diff?.status === 'A' ? 'added' : 'included' };
    if (b === undefined) return { path, change: diff?.status === 'D' ? 'removed' : 'excluded' };
    return a.oid === b.oid ? { path, change: 'mode' } : { path, change: 'changed', lines: linesOf(diff) };
  });
}

function isEqual(a: TreeEntry, b: TreeEntry | undefined): boolean {
  return a.oid === b?.oid && a.mode === b.mode;
}

function byPath(entries: readonly TreeEntry[]): Map<string, TreeEntry> {
  return new Map(entries.map((entry) => [entry.path, entry]));
}

/** A line that was rewritten counts once. */
function linesOf(diff: CodeDiff['files'][number] | undefined): number | null {
  return diff?.linesAdded == null ? null : Math.max(diff.linesAdded, diff.linesRemoved ?? 0);
}
