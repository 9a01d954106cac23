// Why the steps of a run ran or were reused, from what their keys were made of.
import type { RunExplanation, StepExplanation } from '#contract/explain.ts';
import { DomainError } from '#core/errors.ts';
import { didYouMean } from '#core/nearest.ts';
import { type CodeChange, joinClauses, stepDifferences } from '#core/step-difference.ts';
import { describeIngredients, fateSentence, keyedStepOf } from '#core/step-words.ts';
import { codeChanges } from '#activities/stage/code-changes.ts';
import { digestedEntries } from '#activities/stage/ingredients.ts';
import { listExplainedSteps, nearestEarlier } from '#db/explain.ts';
import { type LoadedRun, loadRun } from '#db/run-facts.ts';
import type { CodeDiff } from '#git/diff.ts';
import type { TreeEntry } from '#git/tree.ts';
import type { ApiDeps } from './deps.ts';

type Deps = Pick<ApiDeps, 'connection' | 'mirrors' | 'store'>;
type ExplainedStep = Awaited<ReturnType<typeof listExplainedSteps>>[number];

interface Explained extends LoadedRun {
  label: string;
  steps: ExplainedStep[];
}

export interface ExplainWish {
  step: string | undefined;
  /** Id of the run to compare with; the nearest earlier one per step when absent. */
  with: string | undefined;
  files: boolean;
}

/** @throws not-found for a step that the run does not have. */
export async function explainRun(deps: Deps, runId: string, wish: ExplainWish): Promise<RunExplanation> {
  const run = await load(deps, runId);
  const steps = run.steps.filter(({ name }) => wish.step === undefined || name === wish.step);
  if (wish.step !== undefined && steps.length === 0) throw noStep(run, wish.step);
  const compareWith = await findOthers(deps, run, steps, wish.with);
  const code = createCode(deps);
  return {
    run: run.label,
    steps: await Promise.all(steps.map((step) => explain(code, run, step, compareWith.get(step.name), wish.files))),
  };
}

async function load({ connection: { db } }: Deps, runId: string): Promise<Explained> {
  const [loaded, steps] = await Promise.all([loadRun(db, runId), listExplainedSteps(db, runId)]);
  return { ...loaded, steps, label: `${loaded.project.name}/${loaded.run.number}` };
}

/** What ran is compared with the nearest earlier run by itself; what was reused is equal to its source. */
async function findOthers(
  deps: Deps,
  { run }: Explained,
  steps: readonly ExplainedStep[],
  asked: string | undefined,
): Promise<Map<string, Explained>> {
  if (asked !== undefined) {
    const other = await load(deps, asked);
    return new Map(steps.map(({ name }) => [name, other]));
  }
  const ran = steps.filter(({ kind, status, stepKey }) => kind === 'stage' && status !== 'reused' && stepKey !== null);
  const nearest = await nearestEarlier(
    deps.connection.db,
    run,
    ran.map(({ name }) => name),
  );
  const ids = new Set([...nearest.values()].map(({ id }) => id));
  const loaded = new Map(await Promise.all([...ids].map(async (id) => [id, await load(deps, id)] as const)));
  return new Map(
    [...nearest].flatMap(([name, { id }]) => {
      const other = loaded.get(id);
      return other === undefined ? [] : [[name, other] as const];
    }),
  );
}

async function explain(
  code: Code,
  run: Explained,
  step: ExplainedStep,
  other: Explained | undefined,
  withFiles: boolean,
): Promise<StepExplanation> {
  const keyed = keyedStepOf(step.name, step.kind);
  const files = step.kind === 'stage' ? await code.files(run, step.name) : null;
  const differences = other === undefined ? null : await differencesOf(code, other, run, step);
  const stage = run.run.config?.stages.find(({ name }) => name === step.name);
  const sentence = fateSentence({
    ...step,
    cache: stage?.cache ?? true,
    reuse: run.run.reuse,
    isReproduction: run.run.reproduces !== null,
  });
  return {
    step: step.name,
    status: step.status,
    sentence: withReasons(sentence, other?.label, differences),
    stepKey: step.stepKey,
    ingredients:
      step.ingredients === null || keyed === null
        ? []
        : describeIngredients(keyed, step.ingredients, files?.length ?? null),
    inputs: step.ingredients,
    files: withFiles && files !== null ? files.map(({ path }) => path) : null,
    comparedWith: other?.label ?? null,
    differences: differences === null ? null : differences.map(({ part, name, text }) => ({ part, name, text })),
  };
}

/** `Ran, because no earlier result had this key: since digits/41 lr 0.1 → 0.05.` */
function withReasons(sentence: string, label: string | undefined, differences: { text: string }[] | null): string {
  if (label === undefined || !sentence.endsWith('no earlier result had this key.')) return sentence;
  const texts = (differences ?? []).map(({ text }) => text);
  return texts.length === 0 ? sentence : `${sentence.slice(0, -1)}; against ${label}: ${joinClauses(texts)}.`;
}

async function differencesOf(code: Code, before: Explained, after: Explained, step: ExplainedStep) {
  const other = before.steps.find(({ name }) => name === step.name);
  const keyed = keyedStepOf(step.name, step.kind);
  if (keyed === null || step.ingredients === null || other?.ingredients == null) return null;
  const sameCode = step.ingredients['codeDigest'] === other.ingredients['codeDigest'];
  return stepDifferences(keyed, other.ingredients, step.ingredients, {
    code: sameCode || step.kind !== 'stage' ? null : await code.changes(before, after, step.name),
  });
}

type Code = ReturnType<typeof createCode>;

/** The code of stages, as their keys see it; null where the mirror does not have the commit. */
function createCode({ mirrors, store }: Deps) {
  const diffs = new Map<string, Promise<CodeDiff>>();

  const files = async ({ run, project, steps }: Explained, name: string): Promise<TreeEntry[] | null> => {
    const stage = run.config?.stages.find((one) => one.name === name);
    if (run.config === null || run.commit === null || stage === undefined) return null;
    const requirementFiles = (steps.find((one) => one.name === 'build-environment')?.facts?.['files'] ??
      []) as string[];
    const where = { project, commit: run.commit, config: run.config, requirementFiles };
    return await orNull(() => digestedEntries(mirrors, stage, where));
  };

  const diffOf = (before: Explained, after: Explained): Promise<CodeDiff> => {
    const side = ({ run }: Explained) => ({
      projectId: run.projectId,
      commit: run.commit ?? '',
      archive: () => store.get(run.sourceSha256 ?? ''),
    });
    const key = `${before.run.id} ${after.run.id}`;
    const diff = diffs.get(key) ?? mirrors.diffCode({ before: side(before), after: side(after) }, 0);
    diffs.set(key, diff);
    return diff;
  };

  const changes = async (before: Explained, after: Explained, name: string): Promise<CodeChange[] | null> => {
    const [was, is] = await Promise.all([files(before, name), files(after, name)]);
    const diff = was && is && (await orNull(() => diffOf(before, after)));
    return diff && codeChanges(was ?? [], is ?? [], diff);
  };

  return { files, changes };
}

async function orNull<T>(find: () => Promise<T>): Promise<T | null> {
  try {
    return await find();
  } catch (error) {
    if (error instanceof DomainError) return null;
    throw error;
  }
}

function noStep({ label, steps }: Explained, name: string): DomainError {
  const known = steps.map((step) => step.name);
  const has = known.length === 0 ? 'It has none yet.' : `It has ${known.join(', ')}.`;
  return new DomainError('not-found', `${label} has no step "${name}" with a key.${didYouMean(name, known)} ${has}`);
}
