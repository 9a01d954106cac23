// What a commit says a run of it is to be: configuration, parameters and plan, or why there can be none.
import { parse as parseYaml } from 'yaml';
import { readProjectFile } from '#contract/project-file.ts';
import type { Repository } from '#contract/repository.ts';
import { type Detected, detect, detectProject, withCommand } from '#contract/zero-config.ts';
import { DomainError } from '#core/errors.ts';
import { resolveParams } from '#core/params.ts';
import { createPlan, type Plan, stagesMax } from '#core/plan.ts';
import { choosePool, type Pool } from '#core/pool.ts';
import type { Params, ProjectConfig } from '#core/project.ts';
import type { Database } from '#db/connect.ts';
import { listPools } from '#db/nodes.ts';
import { listSecrets, secretMissing } from '#db/secrets.ts';
import type { Mirrors } from '#git/mirror.ts';
import type { TreeEntry } from '#git/tree.ts';

const projectFile = 'assay.yaml';
const textBytesMax = 1024 * 1024;
const planBytesMax = 32 * 1024;

/** What is to be read of a commit, before or after the run is accepted. */
export interface CommitToRead {
  project: { id: string; name: string };
  commit: string;
  /** A command given at submit, in place of the project's stages. */
  command: string[] | null;
  overrides: Record<string, unknown>;
}

export interface CommitReading {
  config: ProjectConfig;
  params: Params;
  plan: Plan;
}

/** Refuses what a run of the commit could not do: project file, source, secrets, parameters, pools. */
export async function readCommit(
  deps: { db: Database; mirrors: Pick<Mirrors, 'listTree' | 'readFile' | 'inspectSource'> },
  { project, commit, command, overrides }: CommitToRead,
): Promise<CommitReading> {
  const entries = await deps.mirrors.listTree(project.id, commit);
  const findings = await deps.mirrors.inspectSource(project.id, commit, entries);
  const read = createReader(deps.mirrors, project.id, commit, entries);
  const config = await readProject(command, project.name, entries, read);
  config.notYet.push(...findings.filter((finding) => !finding.refused).map((finding) => finding.message));
  requireBounds(config);
  await requireSecrets(deps.db, project.id, config);
  const params = resolveParams(await declaredParams(config, read), overrides as Params, config.params.style);
  const plan = createPlan(config, poolsOf(config, await listPools(deps.db)));
  if (JSON.stringify(plan).length > planBytesMax) {
    const message = `The plan of ${config.stages.length} stages is larger than 32 KiB; shorten the stages' names.`;
    throw new DomainError('invalid-project-file', message);
  }
  return { config, params, plan };
}

type Read = (path: string) => Promise<string | null>;

function createReader(
  mirrors: Pick<Mirrors, 'readFile'>,
  projectId: string,
  commit: string,
  entries: readonly TreeEntry[],
): Read {
  const known = new Set(entries.map((entry) => entry.path));
  return async (path) => {
    const bytes = known.has(path) ? await mirrors.readFile(projectId, commit, path, textBytesMax) : null;
    return bytes === null ? null : bytes.toString('utf8');
  };
}

async function readProject(
  command: string[] | null,
  projectName: string,
  entries: readonly TreeEntry[],
  read: Read,
): Promise<ProjectConfig> {
  const repository = { files: entries.map((entry) => entry.path), read };
  const text = await read(projectFile);
  if (command !== null) {
    const declared = text === null ? null : fromFile(text, repository, projectName, noStages);
    return await withCommand(repository, declared, command, projectName);
  }
  if (text === null) return await detectProject(repository, projectName);
  return fromFile(text, repository, projectName, await detectOrNull(repository));
}

/** What a command given at submit needs of a project file: everything but its stages. */
const noStages: Pick<Detected, 'stages' | 'params'> = {
  stages: [],
  params: { file: null, style: 'argv', defaults: null },
};

/** A file that says everything is right although nothing could be detected; one that does not is refused by its reader. */
async function detectOrNull(repository: Repository): Promise<Detected | null> {
  try {
    return await detect(repository);
  } catch (error) {
    if (error instanceof DomainError) return null;
    throw error;
  }
}

function fromFile(
  text: string,
  repository: Repository,
  projectName: string,
  detected: Pick<Detected, 'stages' | 'params'> | null,
): ProjectConfig {
  const reading = readProjectFile(text, projectFile, { projectName, files: repository.files, detected });
  if ('config' in reading) return reading.config;
  const details = reading.problems.map(({ key, line, message }) => ({ path: key, line, message, file: projectFile }));
  const all = details.map((detail) => `${projectFile}:${detail.line} ${detail.message}`).join(' ');
  throw new DomainError('invalid-project-file', all, details);
}

function requireBounds(config: ProjectConfig): void {
  if (config.stages.length > stagesMax) {
    throw new DomainError(
      'invalid-project-file',
      `Found ${config.stages.length} stages; at most ${stagesMax} are possible in a run.`,
    );
  }
  const image = config.image ?? config.dockerfile;
  if (image !== null) {
    throw new DomainError(
      'environment-unsupported',
      `The project asks for the base image ${image}, which this server's process runner can not give. Remove the key, or use a server with the Docker runner.`,
    );
  }
}

async function requireSecrets(db: Database, projectId: string, config: ProjectConfig): Promise<void> {
  const known = new Set((await listSecrets(db, projectId)).map(({ name }) => name));
  const missing = config.secrets.filter((name) => !known.has(name));
  if (missing.length > 0) throw secretMissing(missing);
}

/** The parameter file of the commit, on top of what the project file declares; null when neither declares any. */
async function declaredParams(config: ProjectConfig, read: Read): Promise<Params | null> {
  const { file, defaults } = config.params;
  const text = file === null ? null : await read(file);
  if (file !== null && text === null) {
    throw new DomainError(
      'invalid-parameters',
      `The parameter file ${file} is not in the commit. Commit it, or correct params.file in ${projectFile}.`,
    );
  }
  if (file === null || text === null) return defaults;
  return { ...defaults, ...parseParams(file, text) };
}

function parseParams(file: string, text: string): Params {
  const parsed = readText(file, text);
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    throw new DomainError(
      'invalid-parameters',
      `${file} holds no map of names; expected an object such as {"lr": 0.1}.`,
    );
  }
  return parsed as Params;
}

function readText(file: string, text: string): unknown {
  try {
    return file.endsWith('.json') ? JSON.parse(text) : parseYaml(text, { maxAliasCount: 100 });
  } catch (error) {
    throw new DomainError('invalid-parameters', `${file} could not be read: ${(error as Error).message}`);
  }
}

function poolsOf(config: ProjectConfig, pools: readonly Pool[]): (name: string) => string {
  const chosen = new Map(config.stages.map((stage) => [stage.name, choosePool(stage, pools)]));
  return (name) => chosen.get(name) ?? '';
}
