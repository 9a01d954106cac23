// Which files of a stage's code differ between the run that is resumed and what it is to be.
import type { CodeChange } from '#core/step-difference.ts';
import type { Stage } from '#core/project.ts';
import { codeChanges } from '#activities/stage/code-changes.ts';
import { digestedEntries } from '#activities/stage/ingredients.ts';
import type { CodeDiff } from '#git/diff.ts';
import type { Mirrors } from '#git/mirror.ts';
import type { BlobStore } from '#storage/blob-store.ts';
import type { Before } from './before.ts';
import type { Resumed } from './resumed.ts';

interface CodeDeps {
  store: Pick<BlobStore, 'get'>;
  mirrors: Pick<Mirrors, 'listTree' | 'readFile' | 'diffCode'>;
}

/** Null when the code of the earlier run's stage can not be told. The commits are compared once. */
export function createCodeComparison(
  { mirrors, store }: CodeDeps,
  before: Before,
  resumed: Pick<Resumed, 'commit' | 'config'>,
): (stage: Stage, requirementFiles: readonly string[]) => Promise<CodeChange[] | null> {
  const { project, run, config } = before;
  const side = (commit: string) => ({
    projectId: project.id,
    commit,
    archive: () => store.get(run.sourceSha256 ?? ''),
  });
  let diff: Promise<CodeDiff> | null = null;
  return async (stage, requirementFiles) => {
    const old = config?.stages.find(({ name }) => name === stage.name);
    if (config === null || old === undefined || run.commit === null) return null;
    const files = (before.result('build-environment')?.facts?.files as string[] | undefined) ?? requirementFiles;
    const [was, is] = await Promise.all([
      digestedEntries(mirrors, old, { project, commit: run.commit, config, requirementFiles: files }),
      digestedEntries(mirrors, stage, { project, ...resumed, requirementFiles }),
    ]);
    diff ??= mirrors.diffCode({ before: side(run.commit), after: side(resumed.commit) }, 0);
    return codeChanges(was, is, await diff);
  };
}
