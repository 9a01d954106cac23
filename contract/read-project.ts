// A repository → its configuration: assay.yaml if there is one, else what can be detected, else a refusal.
import { DomainError, type ErrorDetail } from '#core/errors.ts';
import { defaultSeed } from '#core/seed.ts';
import type { Params, ProjectConfig } from '#core/project.ts';
import { detectParams } from './detect-params.ts';
import { readParamsFile } from './params-file.ts';
import { misnamedProjectFile, readProjectFile, type ProjectFileReading } from './project-file.ts';
import { formatProblem, type ProjectProblem } from './project-problem.ts';
import type { Repository } from './repository.ts';
import { detect, detectProject, withCommand } from './zero-config.ts';

export interface ProjectReading {
  config: ProjectConfig;
  warnings: ProjectProblem[];
}

/**
 * Throws `invalid-project-file` with every problem at once, or `no-entry-point` with the command to use. `command` is
 * that of `assay run -- COMMAND`; null runs the project's stages.
 */
export async function readProject(
  repository: Repository,
  projectName: string,
  command: readonly string[] | null = null,
): Promise<ProjectReading> {
  const text = await repository.read('assay.yaml');
  if (text === null) return withoutFile(repository, projectName, command);
  const reading = await readFile(repository, text, projectName, command);
  if ('problems' in reading) throw invalidProjectFile(reading.problems);
  if (command === null) return reading;
  return { ...reading, config: await withCommand(repository, reading.config, command, projectName) };
}

/** What the project declares: the file's values over those written in the project file; null when neither exists. */
export async function readDeclaredParams(repository: Repository, config: ProjectConfig): Promise<Params | null> {
  const { file, defaults } = config.params;
  if (file === null) return defaults;
  const text = await repository.read(file);
  if (text === null) {
    throw new DomainError(
      'invalid-parameters',
      `Found no ${file} in the commit; expected the parameter file that the project names.`,
    );
  }
  return { ...defaults, ...readParamsFile(file, text) };
}

/** The seed of a run: asked for at submit, else declared, else derived from the project's name. */
export function seedOf(config: ProjectConfig, asked: number | null): number {
  return asked ?? config.seed ?? defaultSeed(config.project);
}

function invalidProjectFile(problems: readonly ProjectProblem[]): DomainError {
  const details: ErrorDetail[] = problems.map(({ key, message, file, line }) => ({ path: key, message, file, line }));
  return new DomainError('invalid-project-file', problems.map(formatProblem).join('\n'), details);
}

async function withoutFile(
  repository: Repository,
  projectName: string,
  command: readonly string[] | null,
): Promise<ProjectReading> {
  const misnamed = misnamedProjectFile(repository.files);
  if (misnamed !== null) {
    const message = `Found ${misnamed}; expected the project file to be named assay.yaml. Rename it.`;
    throw new DomainError('invalid-project-file', message, [{ path: '', file: misnamed, line: 1, message }]);
  }
  if (command) return { config: await withCommand(repository, null, command, projectName), warnings: [] };
  return { config: await detectProject(repository, projectName), warnings: [] };
}

// Read twice at most: the second time with what was detected in place of what the file leaves out.
async function readFile(
  repository: Repository,
  text: string,
  projectName: string,
  command: readonly string[] | null,
): Promise<ProjectFileReading> {
  const context = { projectName, files: repository.files };
  const params = detectParams(repository, null);
  const first = readProjectFile(text, 'assay.yaml', { ...context, detected: { stages: [], params } });
  if ('problems' in first || command !== null || first.leavesOut.length === 0) return first;
  const detected = first.leavesOut.includes('stages')
    ? await detect(repository)
    : { stages: [], params: await paramsOfStages(repository, first.config) };
  return readProjectFile(text, 'assay.yaml', { ...context, detected });
}

/** Judged by the first script that a stage's command names. */
async function paramsOfStages(repository: Repository, config: ProjectConfig): Promise<ProjectConfig['params']> {
  const words = config.stages.flatMap(({ command }) => (typeof command === 'string' ? command.split(/\s+/) : command));
  const script = words.find((word) => word.endsWith('.py') && repository.files.includes(word));
  return detectParams(repository, script === undefined ? null : await repository.read(script));
}
