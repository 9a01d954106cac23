// Before a slot is asked for: what identifies the stage's result is computed, and an equal result answers the stage.
import { ApplicationFailure } from '@temporalio/activity';
import { ApplicationFailureCategory } from '@temporalio/common';
import { DomainError } from '#core/errors.ts';
import type { Params, ProjectConfig, Stage } from '#core/project.ts';
import { stageInputs } from '#core/step-key.ts';
import { admitStage } from '#db/admission.ts';
import {
  type EarlierResult,
  findEarlierResults,
  findResult,
  type KeyedStage,
  type QueuedFor,
  listRerun,
  queueStage,
  reuseResult,
  takeClaim,
} from '#db/claims.ts';
import { getInitialCheckpoint } from '#db/checkpoints.ts';
import type { Database } from '#db/connect.ts';
import { listOutputs } from '#db/outputs.ts';
import { listRunData } from '#db/run-data.ts';
import { type LoadedRun, loadRun } from '#db/run-facts.ts';
import { loadLabel } from '#db/run-label.ts';
import { getStep } from '#db/steps.ts';
import type { Mirrors } from '#git/mirror.ts';
import type { BlobStore } from '#storage/blob-store.ts';
import { stageIngredients } from './stage/ingredients.ts';
import type { ExecutionInput } from './step.ts';
import { isWhole } from './whole-result.ts';
import { stepKeyOf } from './step-keys.ts';

export interface ClaimDeps {
  db: Database;
  store: BlobStore;
  mirrors: Mirrors;
}

export interface StageId extends ExecutionInput {
  step: string;
}

/** The first in the queue of a quota looks again this soon; those behind it later, so that a long queue costs little. */
const lookMs = 500;
const lookMsMax = 15_000;

/**
 * Answers the label of the run whose result answers the stage, or null: then the stage is to run. Repeating it gives the
 * same key: everything it reads is written once before. While an equal step runs, or a quota does not admit it, it is
 * repeated by the server, without a slot and without an event in the history.
 */
export async function claimStep(deps: ClaimDeps, input: StageId): Promise<string | null> {
  const [before, loaded] = await Promise.all([getStep(deps.db, input), loadRun(deps.db, input.runId)]);
  if (before?.status === 'reused') return await loadLabel(deps.db, before.reusedFrom ?? '');
  const isQueued = before?.status === 'waiting' && before.stepKey !== null && before.waitsFor !== 'equal';
  const claimed = isQueued ? { waitsFor: before.waitsFor } : await reuseOrQueue(deps, loaded, input);
  if ('reusedFrom' in claimed) return claimed.reusedFrom;
  if (claimed.waitsFor !== 'quota') return null;
  const refused = await admitStage(deps.db, input);
  if (refused === null) return null;
  throw waiting(refused.sentence, Math.min(lookMsMax, lookMs * (1 + refused.before)));
}

/** Waiting is no trouble that a log should tell of. */
function waiting(message: string, nextRetryDelay: number): ApplicationFailure {
  const category = ApplicationFailureCategory.BENIGN;
  return ApplicationFailure.create({ message, type: 'waiting', nonRetryable: false, nextRetryDelay, category });
}

/** The label of the run whose result answers the stage, or what the stage waits for now that it is to run. */
type Claimed = { reusedFrom: string } | { waitsFor: QueuedFor | null };

async function reuseOrQueue(deps: ClaimDeps, loaded: LoadedRun, input: StageId): Promise<Claimed> {
  const { config, plan, reproduces } = loaded.run;
  const stage = config?.stages.find(({ name }) => name === input.step);
  if (config === null || stage === undefined) throw new TypeError(`The run has no stage ${input.step}.`);
  const [ingredients, rerun] = await Promise.all([
    gather(deps, loaded, config, stage, input),
    listRerun(deps.db, input.runId, input.execution),
  ]);
  const key = stepKeyOf('stage', stageInputs(ingredients));
  const pool = plan?.stages.find(({ name }) => name === input.step)?.pool ?? 'cpu';
  const devices = stage.resources.accelerators?.count ?? 0;
  const keyed = { ...key, pool, devices, reusable: stage.cache && reproduces === null };
  const { reproducesOnly } = loaded.run;
  if (reproducesOnly !== null && reproducesOnly !== input.step)
    return { reusedFrom: await answerFromOriginal(deps, input, keyed, loaded) };
  const isForced = !stage.cache || rerun.includes(input.step);
  const shares = loaded.run.reuse && reproduces === null;
  const reused = isForced ? null : await reuse(deps, input, keyed, shares ? loaded.project.id : null);
  if (reused !== null) return { reusedFrom: reused };
  if (shares && !isForced) {
    const holder = await takeClaim(deps.db, input, keyed);
    if (holder !== null) throw waiting(`an equal step of ${holder} runs`, lookMs);
    // Whoever held the claim before may have left a result since the first look.
    const late = await reuse(deps, input, keyed, loaded.project.id);
    if (late !== null) return { reusedFrom: late };
  }
  return { waitsFor: await queueStage(deps.db, input, keyed) };
}

/** What the one stage of a reproduction needs comes from the original. @throws not-reproducible */
async function answerFromOriginal(
  deps: ClaimDeps,
  input: StageId,
  stage: KeyedStage,
  { run }: LoadedRun,
): Promise<string> {
  const result = await findResult(deps.db, run.reproduces ?? '', input.step);
  if (result !== null && (await answerWith(deps, input, stage, result))) return result.label;
  throw new DomainError(
    'not-reproducible',
    `The result of ${input.step} in the run to be reproduced is gone, and ${run.reproducesOnly} needs it.`,
  );
}

/** The newest earlier result of which every blob is still there; a result that is not all there is as good as none. */
async function reuse(
  deps: ClaimDeps,
  input: StageId,
  stage: KeyedStage,
  sharedWith: string | null,
): Promise<string | null> {
  for (const result of await findEarlierResults(deps.db, input, stage.stepKey, sharedWith)) {
    if (await answerWith(deps, input, stage, result)) return result.label;
  }
  return null;
}

async function answerWith(deps: ClaimDeps, input: StageId, stage: KeyedStage, result: EarlierResult): Promise<boolean> {
  if (!(await isWhole(deps.store, result))) return false;
  try {
    return await reuseResult(deps.db, input, stage, result);
  } catch (error) {
    if (error instanceof DomainError && error.code === 'blob-missing') return false;
    throw error;
  }
}

async function gather(deps: ClaimDeps, { run, project }: LoadedRun, config: ProjectConfig, stage: Stage, id: StageId) {
  const [environment, outputs, data, initFrom] = await Promise.all([
    getStep(deps.db, { ...id, step: 'build-environment' }),
    listOutputs(deps.db, run.id, id.execution),
    listRunData(deps.db, run.id),
    getInitialCheckpoint(deps.db, run.id),
  ]);
  return await stageIngredients(deps, stage, {
    project,
    // The mirror may not have the commit of a reproduction, but its tree.
    commit: (run.reproduces === null ? run.commit : run.tree) ?? '',
    config,
    params: run.params as Params,
    seed: run.seed ?? 0,
    environmentKey: run.environmentKey,
    requirementFiles: (environment?.facts?.files as string[] | undefined) ?? [],
    data,
    initFrom,
    outputs,
  });
}
