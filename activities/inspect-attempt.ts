// Asked after the workflow lost sight of a launch: ended, alive on its node, or lost.
import type { AttemptState, StageOutcome } from '#core/outcome.ts';
import type { StageId } from './claim-step.ts';
import { type Attempt, closeAttempt, isNodeAlive, isOpenAttempt, latestAttempt } from '#db/attempts.ts';
import type { Database } from '#db/connect.ts';
import { putAsideIfFailing } from '#db/nodes.ts';
import { waitAgain } from '#db/steps.ts';

export async function inspectAttempt(db: Database, input: StageId): Promise<AttemptState> {
  const attempt = await latestAttempt(db, input.runId, input.execution, input.step);
  if (attempt === undefined) {
    return { state: 'lost', drained: false, sentence: `The launch of ${input.step} was lost before it was recorded.` };
  }
  if (!isOpenAttempt(attempt)) return closedState(attempt);
  if (await answers(db, attempt.nodeId)) {
    return { state: 'live', nodeId: attempt.nodeId, fence: attempt.fence };
  }
  const sentence = `Node ${attempt.nodeId} stopped answering while it ran ${attempt.step}.`;
  const failure = { class: 'infrastructure' as const, sentence, step: attempt.step, logTail: [], exitCode: null };
  const closed = await closeAttempt(db, attempt, { status: 'lost', failure });
  if (closed) {
    await waitAgain(db, attempt);
    await putAsideIfFailing(db, attempt.nodeId);
  }
  return closed ? { state: 'lost', drained: false, sentence } : await inspectAttempt(db, input);
}

/** A machine that slept wakes with its leases run out, and its node renews its own within this time. */
const renewalMs = 2_000;

async function answers(db: Database, nodeId: string): Promise<boolean> {
  if (await isNodeAlive(db, nodeId)) return true;
  await new Promise((resolve) => setTimeout(resolve, renewalMs));
  return await isNodeAlive(db, nodeId);
}

function closedState(attempt: Attempt): AttemptState {
  if (attempt.status === 'lost') {
    const sentence = attempt.failure?.sentence ?? `The launch of ${attempt.step} was superseded.`;
    return { state: 'lost', drained: attempt.facts?.drained === true, sentence };
  }
  return { state: 'closed', outcome: outcomeOf(attempt) };
}

/** A closed attempt's record is its outcome, whoever asks and however late. */
export function outcomeOf(attempt: Attempt): StageOutcome {
  if (attempt.status === 'succeeded') return { status: 'succeeded', fence: attempt.fence };
  if (attempt.status === 'failed' && attempt.failure !== null) {
    const started = attempt.facts?.started !== false;
    return { status: 'failed', fence: attempt.fence, failure: attempt.failure, started };
  }
  return { status: 'stopped' };
}
