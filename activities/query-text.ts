// The query of a data source as the run's commit has it, and the values that it may name.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DomainError } from '#core/errors.ts';
import { flattenParams } from '#core/params.ts';
import type { Params } from '#core/project.ts';
import type { LoadedRun } from '#db/run-facts.ts';
import type { SourceCache } from './stage/source-cache.ts';

export async function readQuery(deps: { sources: SourceCache }, run: LoadedRun['run'], path: string): Promise<string> {
  const root = await deps.sources.directory(run.sourceSha256 ?? '');
  try {
    return await readFile(join(root, path), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    throw queryMissing(path);
  }
}

export function queryMissing(path: string): DomainError {
  return new DomainError(
    'query-refused',
    `The query ${path} is not in the commit. Commit it, or correct the path under \`data:\`.`,
  );
}

export function paramsOf(run: LoadedRun['run']): Record<string, unknown> {
  return Object.fromEntries(flattenParams(run.params as Params));
}
