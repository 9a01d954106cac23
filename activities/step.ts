// What every platform step does around its work: show that it runs, then how it ended.
import { DomainError } from '#core/errors.ts';
import type { Failure } from '#core/run.ts';
import type { EarlierResult } from '#db/claims.ts';
import type { Database } from '#db/connect.ts';
import { closeStep, type StepId, startStep } from '#db/steps.ts';
import { failureClassOf } from './failures.ts';
import { StepRefusal } from './step-refusal.ts';

export interface ExecutionInput {
  runId: string;
  execution: number;
}

export interface StepResult<R> {
  result: R;
  facts: Record<string, unknown>;
  /** An equal step whose result it is, when nothing had to be made. */
  earlier?: EarlierResult | null;
}

/**
 * A refusal closes the step as failed before it is thrown on; trouble in the world leaves it running for the retry.
 * `logTail` answers what the step printed last.
 */
export async function asStep<R>(
  db: Database,
  id: StepId,
  work: () => Promise<StepResult<R>>,
  logTail: () => string[] = () => [],
): Promise<R> {
  const started = startStep(db, id);
  // The work need not wait for being shown; its end does, and reports what went wrong with it.
  started.catch(() => undefined);
  try {
    const { result, facts, earlier } = await work();
    await started;
    const reused = earlier && { status: 'reused' as const, reusedFrom: earlier.runId, fence: earlier.fence };
    await closeStep(db, id, { ...(reused ?? { status: 'succeeded' }), facts });
    return result;
  } catch (error) {
    await started;
    if (!(error instanceof DomainError)) throw error;
    const failure: Failure = {
      class: failureClassOf(error.code),
      sentence: error.message,
      step: id.step,
      logTail: logTail(),
      exitCode: null,
    };
    await closeStep(db, id, { status: 'failed', failure });
    throw new StepRefusal(error, failure.logTail);
  }
}
