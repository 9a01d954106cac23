// What a commit says a run of it is to be: configuration, parameters and plan, or why there can be none.
import { readDeclaredParams, readProject } from '#contract/read-project.ts';
import type { Repository } from '#contract/repository.ts';
import { DomainError } from '#core/errors.ts';
import { type RunnerOffer, whyNotNetwork } from '#core/network.ts';
import { resolveParams } from '#core/params.ts';
import { createPlan, type Plan, stagesMax } from '#core/plan.ts';
import { choosePool, type Pool } from '#core/pool.ts';
import type { Params, ProjectConfig } from '#core/project.ts';
import type { Database } from '#db/connect.ts';
import { listPools } from '#db/nodes.ts';
import { listSecrets, secretMissing } from '#db/secrets.ts';
import { refusedByName } from '#environment/sources/refused-files.ts';
import type { Mirrors } from '#git/mirror.ts';

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

export interface CommitDeps {
  db: Database;
  mirrors: Pick<Mirrors, 'listTree' | 'readFile' | 'inspectSource'>;
  /** How the nodes of this server run stages. */
  offer: RunnerOffer;
}

/** Refuses what a run of the commit could not do: project file, source, secrets, parameters, pools. */
export async function readCommit(deps: CommitDeps, wanted: CommitToRead): Promise<CommitReading> {
  const { config, params } = await readConfiguration(deps, wanted);
  const plan = createPlan(config, poolsOf(config, await listPools(deps.db)));
  if (JSON.stringify(plan).length > planBytesMax) {
    const message = `The plan of ${config.stages.length} stages is larger than 32 KiB; shorten the stages' names.`;
    throw new DomainError('invalid-project-file', message);
  }
  return { config, params, plan };
}

/** The same but for the pools, which nobody knows while no node is up. */
export async function readConfiguration(
  deps: CommitDeps,
  wanted: CommitToRead,
): Promise<Pick<CommitReading, 'config' | 'params'>> {
  const { project, commit, command } = wanted;
  const entries = await deps.mirrors.listTree(project.id, commit);
  const findings = await deps.mirrors.inspectSource(project.id, commit, entries);
  const paths = entries.map((entry) => entry.path);
  const repository = repositoryOf(deps.mirrors, project.id, commit, paths);
  const { config } = await readProject(repository, project.name, command);
  config.notYet.push(...findings.filter((finding) => !finding.refused).map((finding) => finding.message));
  requireBounds(config, deps.offer);
  requireInstallable(config, paths);
  await requireSecrets(deps.db, project.id, config);
  const declared = await readDeclaredParams(repository, config);
  return { config, params: resolveParams(declared, wanted.overrides as Params, config.params.style) };
}

/** Checkpoints that a run was submitted with are for a stage of the same name. @throws checkpoint-missing */
export function requireInitialStage(config: ProjectConfig, initial: { label: string; step: string } | null): void {
  const names = config.stages.map(({ name }) => name);
  if (initial === null || names.includes(initial.step)) return;
  throw new DomainError(
    'checkpoint-missing',
    `The run is to start from the checkpoints of ${initial.step} of ${initial.label}, but this commit has no stage of that name; it has ${names.join(', ')}.`,
  );
}

function repositoryOf(
  mirrors: CommitDeps['mirrors'],
  projectId: string,
  commit: string,
  files: readonly string[],
): Repository {
  const known = new Set(files);
  return {
    files,
    read: async (path) => {
      const bytes = known.has(path) ? await mirrors.readFile(projectId, commit, path, textBytesMax) : null;
      return bytes === null ? null : bytes.toString('utf8');
    },
  };
}

function requireBounds(config: ProjectConfig, offer: RunnerOffer): void {
  if (config.stages.length > stagesMax) {
    const message = `Found ${config.stages.length} stages; at most ${stagesMax} are possible in a run.`;
    throw new DomainError('invalid-project-file', message);
  }
  for (const { name, network } of config.stages) {
    const reason = whyNotNetwork(network, offer);
    if (reason === null) continue;
    throw new DomainError('network-not-enforceable', `Stage ${name} asks for network: ${network}, ${reason}`);
  }
  const base = config.image ?? config.dockerfile;
  if (base === null || offer.kind === 'docker') return;
  throw new DomainError(
    'environment-unsupported',
    `The project asks for the base image ${base}, which this server's process runner can not give. Remove the key, or use a server that runs stages in containers.`,
  );
}

function requireInstallable(config: ProjectConfig, paths: readonly string[]): void {
  if (config.requirements !== null) return;
  const refusal = refusedByName(paths.filter((path) => !path.includes('/')));
  if (refusal !== undefined) throw refusal;
}

async function requireSecrets(db: Database, projectId: string, config: ProjectConfig): Promise<void> {
  const known = new Set((await listSecrets(db, projectId)).map(({ name }) => name));
  const missing = config.secrets.filter((name) => !known.has(name));
  if (missing.length > 0) throw secretMissing(missing);
}

function poolsOf(config: ProjectConfig, pools: readonly Pool[]): (name: string) => string {
  const chosen = new Map(config.stages.map((stage) => [stage.name, choosePool(stage, pools)]));
  return (name) => chosen.get(name) ?? '';
}
