// What a git host is told about a run.
import type { Failure, GateResult, RunStatus } from './run.ts';

export const commitStates = ['pending', 'success', 'failure', 'error'] as const;
/** GitHub's words. `failure` is the run's own, `error` is that it came to no result. */
export type CommitState = (typeof commitStates)[number];

export interface CommitStatus {
  state: CommitState;
  /** One line of at most 140 characters, which is what GitHub takes. */
  description: string;
}

const descriptionMax = 140;

export function commitStatusOf(run: {
  status: RunStatus;
  gateResult: GateResult | null;
  failure: Failure | null;
}): CommitStatus {
  switch (run.status) {
    case 'queued':
      return { state: 'pending', description: 'Waiting to start' };
    case 'running':
    case 'waiting':
      return { state: 'pending', description: 'Running' };
    case 'needs-attention':
      return { state: 'pending', description: 'Waiting for a person' };
    case 'cancelled':
      return { state: 'error', description: 'Cancelled' };
    case 'succeeded':
      return run.gateResult === 'failed'
        ? { state: 'failure', description: 'Finished; the gate failed' }
        : { state: 'success', description: run.gateResult === 'passed' ? 'The gate passed' : 'Finished' };
    case 'failed':
      return failed(run.failure);
  }
}

function failed(failure: Failure | null): CommitStatus {
  const isOurs = failure?.class === 'platform' || failure?.class === 'infrastructure';
  const line = (failure?.sentence ?? 'Failed').split('\n', 1)[0] ?? '';
  const description = line.length <= descriptionMax ? line : `${line.slice(0, descriptionMax - 1)}…`;
  return { state: isOurs ? 'error' : 'failure', description };
}
