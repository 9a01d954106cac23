// The part of `deterministic: true` that variables can not do: a hook in the stage's Python, and reading back what it saw.
import { readFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { type Determinism, hookVariables, readDeterminism } from '#core/determinism.ts';
import { DomainError } from '#core/errors.ts';
import type { Stage } from '#core/project.ts';
import { writeDeterministicHook } from '#environment/python/deterministic-hook.ts';
import type { Workspace } from './workspace.ts';
import { openWritten } from './written-files.ts';

const reportBytesMax = 1024 * 1024;

export async function prepareDeterminism(
  space: Workspace,
  stage: Stage,
  variables: Readonly<Record<string, string>>,
): Promise<Record<string, string>> {
  if (!stage.deterministic) return {};
  const folder = join(space.root, 'deterministic');
  await writeDeterministicHook(folder);
  return hookVariables(variables, { folder, report: reportOf(space) });
}

/** Null for a stage that does not ask. */
export async function readBackDeterminism(space: Workspace, stage: Stage): Promise<Determinism | null> {
  return stage.deterministic ? readDeterminism(stage.name, await readReport(space)) : null;
}

function reportOf({ root }: Workspace): string {
  return join(root, 'determinism.jsonl');
}

/** Empty where there is none, or none that the worker may read. */
async function readReport(space: Workspace): Promise<string> {
  try {
    const handle = await openWritten(space.folder, relative(space.folder, reportOf(space)));
    try {
      return (await handle.stat()).size > reportBytesMax ? '' : await readFile(handle, 'utf8');
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (error instanceof DomainError || (error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}
