// Which steps a resumed run would reuse and which would run, found by what the run itself will use: the same ingredients,
// the same keys, the same search for earlier results. What depends on a step that will run is tried with that step's last
// result, which tells whether anything else about it changed.
import { stepDifferences } from '#core/step-difference.ts';
import type { PlannedStep } from '#core/planned-step.ts';
import type { Stage } from '#core/project.ts';
import { stageInputs } from '#core/step-key.ts';
import { type EarlierResult, findEarlierResults, listFilesOfResult } from '#db/claims.ts';
import { type StageFacts, stageIngredients } from '#activities/stage/ingredients.ts';
import { ancestors } from '#activities/stage/ancestors.ts';
import { stepKeyOf } from '#activities/step-keys.ts';
import { isWhole } from '#activities/whole-result.ts';
import type { Database } from '#db/connect.ts';
import type { KeptStep } from '#db/resume.ts';
import type { Mirrors } from '#git/mirror.ts';
import type { Lake } from '#lake/lake.ts';
import type { BlobStore } from '#storage/blob-store.ts';
import { type Before, whyUnfinished } from './before.ts';
import { createCodeComparison } from './compare-code.ts';
import { planData } from './plan-data.ts';
import { planEnvironment } from './plan-environment.ts';
import type { Resumed } from './resumed.ts';

export interface PlanDeps {
  db: Database;
  store: Pick<BlobStore, 'stat' | 'get'>;
  mirrors: Pick<Mirrors, 'listTree' | 'readFile' | 'diffCode'>;
  lake: Pick<Lake, 'db' | 'engine'>;
}

type Outputs = StageFacts['outputs'];

/** What is known of a step before the run: what it gives, if only under a condition, and whether it will run. */
interface Outlook<T> {
  value: T | null;
  /** Null when the step is reused: then the value is certain. */
  condition: string | null;
}

export async function planSteps(deps: PlanDeps, before: Before, resumed: Resumed): Promise<PlannedStep[]> {
  const environment = await planEnvironment(deps, before, resumed);
  const data = resumed.config.data.length === 0 ? null : await planData(deps, before, resumed);
  const compareCode = createCodeComparison(deps, before, resumed);
  const planned: PlannedStep[] = [environment.step, ...(data === null ? [] : [data.step])];
  const outlooks = new Map<string, Outlook<Outputs>>();
  for (const stage of resumed.config.stages) {
    const given: Given = {
      environment: { value: environment.key, condition: conditionOf(environment.step, 'the lock comes out the same') },
      data: data && {
        value: data.rows,
        condition: data.isCertain ? null : conditionOf(data.step, 'the data come out the same'),
      },
      files: environment.files,
      upstream: [...ancestors(resumed.config.stages, stage.name)].map((name) => ({
        name,
        ...outlookOf(outlooks, name),
      })),
    };
    const { step, outputs } = await planStage({ deps, before, resumed, compareCode }, stage, given);
    planned.push(step);
    outlooks.set(stage.name, {
      value: outputs,
      condition: conditionOf(step, `${stage.name} makes the same files again`),
    });
  }
  return planned;
}

function conditionOf(step: PlannedStep, condition: string): string | null {
  return step.action === 'reuse' ? null : condition;
}

function outlookOf(outlooks: ReadonlyMap<string, Outlook<Outputs>>, name: string): Outlook<Outputs> {
  return outlooks.get(name) ?? { value: null, condition: null };
}

interface Given {
  environment: Outlook<string>;
  data: Outlook<StageFacts['data']> | null;
  files: readonly string[];
  upstream: ReadonlyArray<Outlook<Outputs> & { name: string }>;
}

interface Planning {
  deps: PlanDeps;
  before: Before;
  resumed: Resumed;
  compareCode: ReturnType<typeof createCodeComparison>;
}

async function planStage(
  planning: Planning,
  stage: Stage,
  given: Given,
): Promise<{ step: PlannedStep; outputs: Outputs | null }> {
  const { deps, before, resumed } = planning;
  const last = before.result(stage.name);
  const lastOutputs = last === undefined ? null : await listFilesOfResult(deps.db, resultOf(last), stage.name);
  const runs = (because: string[], unless: string[] = []) => ({
    step: { name: stage.name, kind: 'stage' as const, action: 'run' as const, reusedFrom: null, because, unless },
    outputs: lastOutputs,
  });
  if (resumed.rerun.includes(stage.name)) return runs([`--from ${resumed.from}`]);
  if (!stage.cache) return runs(['it says cache: false']);
  const causes = causesOf(stage, given);
  const facts = factsOf(resumed, before, given);
  if (facts === null) return runs(causes);
  const ingredients = await stageIngredients(deps, stage, facts);
  const keyed = stepKeyOf('stage', stageInputs(ingredients));
  const id = { runId: resumed.runId, execution: resumed.execution, step: stage.name };
  const results = await findEarlierResults(deps.db, id, keyed.stepKey, resumed.shares ? before.project.id : null);
  const whole = await firstWhole(deps.store, results);
  const conditions = conditionsOf(given);
  if (whole !== null && conditions.length > 0) return runs(causes, conditions);
  if (whole !== null) {
    const outputs = await listFilesOfResult(deps.db, whole, stage.name);
    const step = { name: stage.name, kind: 'stage' as const, because: [], unless: [] };
    return { step: { ...step, action: 'reuse', reusedFrom: whole.label }, outputs };
  }
  const own = await whyNotEqual(planning, stage, keyed.ingredients, facts);
  if (own.length > 0 || causes.length > 0) return runs([...own, ...causes]);
  if (results.length > 0) return runs(['files of its result are gone']);
  const isBarred = last?.stepKey === keyed.stepKey && last.reusable === false;
  return runs([isBarred ? 'its result was made with cache: false' : whyUnfinished(before.newest(stage.name))]);
}

/** The steps that will run and that it needs, as clauses. */
function causesOf(stage: Stage, { environment, data, upstream }: Given): string[] {
  const needs = upstream.filter(({ name, condition }) => condition !== null && stage.needs.includes(name));
  const direct = needs.map(({ name }) => name);
  const first = [
    ...(environment.condition === null ? [] : ['build-environment']),
    ...(data === null || data.condition === null ? [] : ['load-data']),
  ];
  return (direct.length > 0 ? direct : first).map((name) => `${name} will run`);
}

function conditionsOf({ environment, data, upstream }: Given): string[] {
  return [environment, ...(data === null ? [] : [data]), ...upstream].flatMap(({ condition }) => condition ?? []);
}

/** Null when something that it needs was never made, so that nothing can be said of its key. */
function factsOf(resumed: Resumed, before: Before, { environment, data, files, upstream }: Given): StageFacts | null {
  const outputs = upstream.map(({ value }) => value);
  if (environment.value === null || data?.value === null || outputs.includes(null)) return null;
  return {
    project: before.project,
    commit: resumed.commit,
    config: resumed.config,
    params: resumed.params,
    seed: resumed.seed,
    environmentKey: environment.value,
    requirementFiles: files,
    data: data?.value ?? [],
    initFrom: before.initFrom,
    outputs: outputs.flatMap((some) => some ?? []),
  };
}

async function firstWhole(store: PlanDeps['store'], results: readonly EarlierResult[]): Promise<EarlierResult | null> {
  for (const result of results) {
    if (await isWhole(store, result)) return result;
  }
  return null;
}

/** What about the step itself is not as it was. */
async function whyNotEqual(
  { before, compareCode }: Planning,
  stage: Stage,
  ingredients: Record<string, unknown>,
  facts: StageFacts,
): Promise<string[]> {
  const kept = before.keyed(stage.name);
  if (kept?.ingredients == null) return [];
  const code =
    kept.ingredients.codeDigest === ingredients.codeDigest ? [] : await compareCode(stage, facts.requirementFiles);
  return stepDifferences('stage', kept.ingredients, ingredients, { code }).map(({ text }) => text);
}

function resultOf(step: KeptStep): Pick<EarlierResult, 'runId' | 'fence'> {
  return { runId: step.reusedFrom ?? step.runId, fence: step.fence ?? 0 };
}
