// The last word on an execution, and the word that a run needs a person. Both may be repeated.
import type { Failure } from '#core/run.ts';
import type { Database } from '#db/connect.ts';
import { closeExecution, setWaiting } from '#db/executions.ts';
import { closeStep } from '#db/steps.ts';
import type { ExecutionInput } from './step.ts';

export interface FinishInput extends ExecutionInput {
  status: 'succeeded' | 'failed' | 'cancelled';
  failure: Failure | null;
}

export async function finishRun(db: Database, input: FinishInput): Promise<void> {
  await closeExecution(db, { ...input, n: input.execution, skipReason: skipReason(input) });
}

function skipReason(input: FinishInput): string {
  if (input.status === 'succeeded') return 'not asked for: a person promotes';
  if (input.status === 'cancelled') return 'the run was cancelled';
  return input.failure?.step === null || input.failure === null ? 'the run failed' : `${input.failure.step} failed`;
}

export async function closeStage(
  db: Database,
  input: ExecutionInput & { step: string; failure: Failure },
): Promise<void> {
  await closeStep(db, input, { status: 'failed', failure: input.failure, reason: input.failure.sentence });
}

export async function showAttention(db: Database, input: ExecutionInput & { sentence: string | null }): Promise<void> {
  await setWaiting(db, input.runId, input.sentence === null ? 'running' : 'needs-attention', input.sentence);
}
