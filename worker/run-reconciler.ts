// Compares open executions with Temporal: what was terminated, timed out or forgotten there is closed here, and
// cancellations that could not be delivered at once are delivered. The one exception to one writer per fact.
import { type Client, type WorkflowExecutionStatusName, WorkflowNotFoundError } from '@temporalio/client';
import { sql } from 'drizzle-orm';
import type { Failure } from '#core/run.ts';
import type { Connection } from '#db/connect.ts';
import { type Closing, closeExecution, listOpenExecutions, type OpenExecution } from '#db/executions.ts';
import { runWorkflowId } from '#workflows/messages.ts';
import type { Logger } from './logger.ts';
import { startTicking } from './ticking.ts';

const everyMs = 10_000;
const executionsMax = 1_000;
/** Any constant that nothing else in the database uses; held by the one reconciler that works. */
const reconcilerLock = 4_207_302;

export interface ReconcilerDeps {
  connection: Connection;
  client: Client;
  log: Logger;
}

export function startRunReconciler(deps: ReconcilerDeps): { stop(): Promise<void> } {
  return startTicking(everyMs, () => reconcileRuns(deps), deps.log, 'reconciling runs');
}

/** One pass; when another process holds the lock it does nothing. */
async function reconcileRuns(deps: ReconcilerDeps): Promise<void> {
  await deps.connection.db.transaction(async (tx) => {
    const lock = await tx.execute<{ held: boolean }>(sql`select pg_try_advisory_xact_lock(${reconcilerLock}) as held`);
    if (lock.rows[0]?.held !== true) return;
    const open = await listOpenExecutions(deps.connection.db, executionsMax);
    for (const execution of open) await reconcile(deps, execution);
  });
}

async function reconcile(deps: ReconcilerDeps, execution: OpenExecution): Promise<void> {
  const handle = deps.client.workflow.getHandle(runWorkflowId(execution.runId, execution.n));
  const status = await describe(handle);
  if (status === 'RUNNING') {
    if (execution.cancelRequestedBy !== null) await handle.cancel();
    return;
  }
  const closing = closingOf(status);
  const closed = await closeExecution(deps.connection.db, { runId: execution.runId, n: execution.n, ...closing });
  if (closed)
    deps.log.info({ run: execution.runId, status, as: closing.status }, 'closed a run that Temporal had closed');
}

async function describe(handle: { describe(): Promise<{ status: { name: WorkflowExecutionStatusName } }> }) {
  try {
    return (await handle.describe()).status.name;
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return 'NOT_FOUND';
    throw error;
  }
}

/** The workflow writes its own end before it completes, so an end found only in Temporal was not an orderly one. */
function closingOf(status: WorkflowExecutionStatusName | 'NOT_FOUND'): Omit<Closing, 'runId' | 'n'> {
  if (status === 'TERMINATED' || status === 'CANCELLED') {
    const sentence = `${status.toLowerCase()} in Temporal`;
    return { status: 'cancelled', failure: platform(`The run was ${sentence}.`), skipReason: sentence };
  }
  const sentence =
    status === 'NOT_FOUND'
      ? 'Temporal does not know this run any more.'
      : `Temporal closed the run as ${status.toLowerCase()} without a recorded result.`;
  return { status: 'failed', failure: platform(sentence), skipReason: 'the run failed' };
}

function platform(sentence: string): Failure {
  return { class: 'platform', sentence, step: null, logTail: [], exitCode: null };
}
