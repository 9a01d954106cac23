// Which files of a stage's code differ between two commits, as the stage's digest sees them.
import type { CodeChange } from '#core/step-difference.ts';
import type { Stage } from '#core/project.ts';
import { digestedEntries } from '#activities/stage/ingredients.ts';
import type { Mirrors } from '#git/mirror.ts';
import type { TreeEntry } from '#git/tree.ts';
import type { Before } from './before.ts';
import type { Resumed } from './resumed.ts';

type CompareCode = (stage: Stage, requirementFiles: readonly string[]) => Promise<CodeChange[] | null>;

/** Null when the code of the earlier run's stage can not be told. The lines of all files are counted once. */
export function createCodeComparison(
  { mirrors }: { mirrors: Pick<Mirrors, 'listTree' | 'readFile' | 'changedLines'> },
  before: Before,
  resumed: Pick<Resumed, 'commit' | 'config'>,
): CompareCode {
  const { project } = before;
  let counted: Promise<Map<string, number | null>> | null = null;
  return async (stage, requirementFiles) => {
    const { config, run } = before;
    const old = config?.stages.find(({ name }) => name === stage.name);
    if (config === null || old === undefined || run.commit === null) return null;
    const files = (before.result('build-environment')?.facts?.files as string[] | undefined) ?? requirementFiles;
    const [was, is] = await Promise.all([
      digestedEntries(mirrors, old, { project, commit: run.commit, config, requirementFiles: files }),
      digestedEntries(mirrors, stage, { project, ...resumed, requirementFiles }),
    ]);
    counted ??= mirrors.changedLines(project.id, run.commit, resumed.commit);
    const [lines, entries, after] = await Promise.all([
      counted,
      mirrors.listTree(project.id, run.commit),
      mirrors.listTree(project.id, resumed.commit),
    ]);
    const isIn = (entries: readonly TreeEntry[]) => (path: string) => entries.some((entry) => entry.path === path);
    return compareEntries(was, is, { lines, wasThere: isIn(entries), isThere: isIn(after) });
  };
}

interface Trees {
  lines: ReadonlyMap<string, number | null>;
  wasThere: (path: string) => boolean;
  isThere: (path: string) => boolean;
}

/** Sorted by path. */
function compareEntries(was: readonly TreeEntry[], is: readonly TreeEntry[], trees: Trees): CodeChange[] {
  const [old, now] = [byPath(was), byPath(is)];
  const isEqual = (a: TreeEntry | undefined, b: TreeEntry | undefined) => a?.oid === b?.oid && a?.mode === b?.mode;
  const differing = [
    ...was.filter((entry) => !isEqual(entry, now.get(entry.path))),
    ...is.filter(({ path }) => !old.has(path)),
  ].map(({ path }) => path);
  return differing.toSorted().map((path) => changeOf(path, old.get(path), now.get(path), trees));
}

function changeOf(path: string, old: TreeEntry | undefined, now: TreeEntry | undefined, trees: Trees): CodeChange {
  if (old === undefined) return { path, change: trees.wasThere(path) ? 'included' : 'added' };
  if (now === undefined) return { path, change: trees.isThere(path) ? 'excluded' : 'removed' };
  if (old.oid !== now.oid) return { path, change: 'changed', lines: trees.lines.get(path) ?? null };
  return { path, change: 'mode' };
}

function byPath(entries: readonly TreeEntry[]): Map<string, TreeEntry> {
  return new Map(entries.map((entry) => [entry.path, entry]));
}
