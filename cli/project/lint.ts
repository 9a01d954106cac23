// Everything that can be found wrong with a project before it runs.
import { readDeclaredParams } from '#contract/read-project.ts';
import { DomainError } from '#core/errors.ts';
import { resolveParams } from '#core/params.ts';
import { findSource } from '#environment/sources/find-source.ts';
import type { Context } from '#cli/context.ts';
import type { Finding } from './finding.ts';
import { lintOnServer } from './lint-on-server.ts';
import { type LocalProject, readLocalProject } from './local-project.ts';

export async function lintProject(context: Context, root: string): Promise<Finding[]> {
  const project = await refused(() => readLocalProject(root));
  if (Array.isArray(project)) return project;
  const { config, warnings } = project;
  return [
    ...warnings.map(({ file, line, message }): Finding => ({ level: 'warning', place: `${file}:${line}`, message })),
    ...config.notYet.map((message): Finding => ({ level: 'warning', place: '', message })),
    ...(await lintParams(project)),
    ...(await lintRequirements(project)),
    ...(await lintOnServer(context, project)),
  ];
}

async function lintParams({ repository, config }: LocalProject): Promise<Finding[]> {
  const found = await refused(async () => {
    const declared = await readDeclaredParams(repository, config);
    return resolveParams(declared, {}, config.params.style);
  });
  return Array.isArray(found) ? found : [];
}

/** The requirement files as the run will find them; nothing is resolved or installed. */
async function lintRequirements({ root, config }: LocalProject): Promise<Finding[]> {
  const found = await refused(() => findSource(root, config));
  if (Array.isArray(found)) return found;
  return found.notes.map((message): Finding => ({ level: 'note', place: found.file ?? '', message }));
}

/** The findings of a refusal, or the result. */
async function refused<T extends object>(read: () => Promise<T>): Promise<T | Finding[]> {
  try {
    return await read();
  } catch (error) {
    if (!(error instanceof DomainError)) throw error;
    if (error.details.length === 0) return [{ level: 'error', place: '', message: error.message }];
    return error.details.map(({ file, line, path, message }): Finding => {
      const place = file === undefined ? path : line === undefined ? file : `${file}:${line}`;
      return { level: 'error', place, message };
    });
  }
}
