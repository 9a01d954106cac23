// What the project in this folder says: assay.yaml, or what is found without it.
import { type ProjectReading, readProject } from '#contract/read-project.ts';
import type { Repository } from '#contract/repository.ts';
import type { ProjectConfig } from '#core/project.ts';
import { DomainError } from '#core/errors.ts';
import { projectNameAt } from './project-here.ts';
import { openWorkingTree } from './tree-listing.ts';

export interface LocalProject extends ProjectReading {
  root: string;
  repository: Repository;
}

/** @throws DomainError with everything that is wrong, or that there is nothing to run. */
export async function readLocalProject(
  root: string,
  command: readonly string[] | null = null,
  projectName?: string,
): Promise<LocalProject> {
  const repository = await openWorkingTree(root);
  const reading = await readProject(repository, projectName ?? (await projectNameAt(root)), command);
  return { ...reading, root, repository };
}

/** For making an environment nothing has to be runnable, so a project without an entry point is fine. */
export async function readEnvironmentChoice(root: string): Promise<Pick<ProjectConfig, 'requirements' | 'python'>> {
  try {
    return (await readLocalProject(root)).config;
  } catch (error) {
    if (error instanceof DomainError && error.code === 'no-entry-point') return { requirements: null, python: null };
    throw error;
  }
}
