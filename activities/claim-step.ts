// Before a slot is asked for: what identifies the stage's result is computed, stored and claimed.
import { ApplicationFailure } from '@temporalio/activity';
import { ApplicationFailureCategory } from '@temporalio/common';
import { digestedPaths, stageTree } from '#core/code-scope.ts';
import { narrowParams } from '#core/params.ts';
import type { ProjectConfig, Stage } from '#core/project.ts';
import { type StageIngredients, stageInputs } from '#core/step-key.ts';
import { admitStage } from '#db/admission.ts';
import type { Database } from '#db/connect.ts';
import { getEnvironment } from '#db/environments.ts';
import { listSecrets } from '#db/secrets.ts';
import { type Artifact, listOutputs } from '#db/outputs.ts';
import { listRunData } from '#db/run-data.ts';
import { type LoadedRun, loadRun } from '#db/run-facts.ts';
import { stagesHaveQuotas } from '#db/quotas.ts';
import { claimStep as claimStepRow, getStep } from '#db/steps.ts';
import { digestEntries, ignoreFile, ignoreGlob } from '#git/code-digest.ts';
import type { Mirrors } from '#git/mirror.ts';
import { ancestors } from './stage/ancestors.ts';
import { compileGlob } from './stage/workspace.ts';
import type { ExecutionInput } from './step.ts';
import { stepKeyOf } from './step-keys.ts';

export interface ClaimDeps {
  db: Database;
  mirrors: Mirrors;
}

export interface StageId extends ExecutionInput {
  step: string;
}

const ignoreBytesMax = 256 * 1024;

/** The first in the queue of a quota looks again this soon; those behind it later, so that a long queue costs little. */
const lookMs = 500;
const lookMsMax = 15_000;

/**
 * Repeating it gives the same key: everything it reads is written once before. What its quota does not admit is repeated
 * by the server, without a slot and without an event in the history.
 */
export async function claimStep(deps: ClaimDeps, input: StageId): Promise<void> {
  const step = await getStep(deps.db, input);
  const isClaimed = step?.status === 'waiting' && step.stepKey !== null;
  if (!isClaimed) await claim(deps, input);
  if (isClaimed ? step.waitsFor !== 'quota' : !(await stagesHaveQuotas(deps.db))) return;
  const refused = await admitStage(deps.db, input);
  if (refused === null) return;
  const nextRetryDelay = Math.min(lookMsMax, lookMs * (1 + refused.before));
  throw ApplicationFailure.create({
    message: refused.sentence,
    type: 'quota',
    nonRetryable: false,
    nextRetryDelay,
    // Waiting is no trouble that a log should tell of.
    category: ApplicationFailureCategory.BENIGN,
  });
}

async function claim(deps: ClaimDeps, input: StageId): Promise<void> {
  const loaded = await loadRun(deps.db, input.runId);
  const { config, plan } = loaded.run;
  const stage = config?.stages.find(({ name }) => name === input.step);
  if (config === null || stage === undefined) throw new TypeError(`The run has no stage ${input.step}.`);
  const ingredients = await gather(deps, loaded, config, stage, input);
  const pool = plan?.stages.find(({ name }) => name === input.step)?.pool ?? 'cpu';
  const devices = stage.resources.accelerators?.count ?? 0;
  await claimStepRow(deps.db, input, { ...stepKeyOf('stage', stageInputs(ingredients)), pool, devices });
}

async function gather(
  deps: ClaimDeps,
  { run, project }: LoadedRun,
  config: ProjectConfig,
  stage: Stage,
  input: StageId,
): Promise<StageIngredients> {
  const [environment, stored, outputs, data, runner] = await Promise.all([
    getStep(deps.db, { ...input, step: 'build-environment' }),
    listSecrets(deps.db, project.id),
    listOutputs(deps.db, run.id, input.execution),
    listRunData(deps.db, run.id),
    runnerOf(deps.db, run.environmentKey),
  ]);
  const requirementFiles = (environment?.facts?.files as string[] | undefined) ?? [];
  const secrets = new Map(stored.map(({ name, version }) => [name, version]));
  const needed = ancestors(config.stages, stage.name);
  return {
    codeDigest: await digestCode(deps.mirrors, project.id, run.commit ?? '', config, stage, requirementFiles),
    command: stage.command,
    params: narrowParams(run.params as StageIngredients['params'], stage.params),
    paramStyle: config.params.style,
    environmentKey: run.environmentKey,
    upstream: outputs.filter((output) => needed.has(output.step)).map(upstreamFile),
    data: data.map(({ name, to, digest }) => ({ name, to, digest })),
    seed: run.seed ?? 0,
    env: { ...config.env, ...stage.env },
    secrets: stage.secrets.map((name) => ({ name, version: secrets.get(name) ?? 0 })),
    cpus: stage.resources.cpus,
    threads: threadsOf(stage),
    accelerators: stage.resources.accelerators,
    runner,
    network: stage.network,
    outputs: stage.outputs,
    deterministic: stage.deterministic,
  };
}

/**
 * What lies below the environment is part of a result's identity: the base image, or for processes the C library and the
 * Python build. The image of the environment itself differs between engines that made it from the same lock and base.
 */
async function runnerOf(db: Database, environmentKey: string | null): Promise<StageIngredients['runner']> {
  const row = environmentKey === null ? undefined : await getEnvironment(db, environmentKey);
  if (row?.base) return { kind: 'docker', imageDigest: row.base };
  const [os = '', arch = '', libc = ''] = (row?.platform ?? '').split('-');
  return { kind: 'process', platform: `${os}-${arch}`, libc, pythonBuild: row?.python ?? '' };
}

/** Thread counts change floating-point sums, so they are pinned: to the CPUs asked for, else to one per stage. */
export function threadsOf(stage: Stage): number {
  return Math.max(1, Math.floor(stage.resources.cpus ?? 1));
}

function upstreamFile(output: Artifact) {
  return {
    stage: output.step,
    path: output.path,
    mode: output.executable ? '100755' : '100644',
    sha256: output.sha256,
  };
}

async function digestCode(
  mirrors: Mirrors,
  projectId: string,
  commit: string,
  config: ProjectConfig,
  stage: Stage,
  requirementFiles: string[],
): Promise<string> {
  const entries = await mirrors.listTree(projectId, commit);
  const hasIgnore = entries.some(({ path }) => path === ignoreFile);
  const ignore = hasIgnore ? await mirrors.readFile(projectId, commit, ignoreFile, ignoreBytesMax) : null;
  const paths = stageTree(
    stage,
    config,
    entries.map((entry) => entry.path),
    compileGlob,
  );
  const digested = new Set(digestedPaths(config, paths, ignore?.toString('utf8') ?? null, ignoreGlob));
  for (const path of requirementFiles) digested.delete(path);
  return digestEntries(entries.filter((entry) => digested.has(entry.path)));
}
