// The last step of a reproduction: how it compares with its original, written once.
import type { Failure } from '#core/run.ts';
import type { VerdictReport } from '#core/verdict.ts';
import { loadRun } from '#db/run-facts.ts';
import { findVerdict, keepVerdict } from '#db/verdicts.ts';
import { asStep, type ExecutionInput } from './step.ts';
import { compareRuns } from './verdict/compare.ts';
import type { VerdictDeps } from './verdict/deps.ts';

export interface VerdictInput extends ExecutionInput {
  /** Why the reproduction could not go to its end; null when it did. */
  failure: Failure | null;
}

/**
 * Answers the verdict as one line for the Temporal UI, or null where there is none: trouble of the platform says nothing
 * about the run. Repeating it answers what is recorded.
 */
export async function verdict(deps: VerdictDeps, input: VerdictInput): Promise<string | null> {
  const { run } = await loadRun(deps.db, input.runId);
  const { reproduces: originalId } = run;
  if (originalId === null || run.reproducesOnly !== null || saysNothing(input.failure)) return null;
  return await asStep(deps.db, { runId: input.runId, execution: input.execution, step: 'verdict' }, async () => {
    const report =
      (await findVerdict(deps.db, run.id)) ??
      (await keepVerdict(deps.db, { runId: run.id, originalId, report: await judge(deps, input, originalId) }));
    const { verdict: word, grade, sentence, firstDifference } = report;
    return { result: `${word} (${grade}): ${sentence}`, facts: { verdict: word, grade, sentence, firstDifference } };
  });
}

function saysNothing(failure: Failure | null): boolean {
  return failure?.class === 'infrastructure' || failure?.class === 'platform';
}

/** Steps that only bring together what is kept; where one of them fails, something is not there any more. */
const inputSteps = ['resolve-commit', 'build-environment', 'load-data'];

async function judge(deps: VerdictDeps, { runId, failure }: VerdictInput, originalId: string): Promise<VerdictReport> {
  if (failure !== null && inputSteps.includes(failure.step ?? '')) return notReproducible(failure);
  return await compareRuns(deps, originalId, runId);
}

function notReproducible({ step, sentence }: Failure): VerdictReport {
  return {
    verdict: 'not-reproducible',
    grade: 'G0',
    sentence,
    firstDifference: null,
    layers: [],
    notes: [`It ended in ${step}, before anything ran, so nothing was compared.`],
  };
}
