// Executions: what the run workflow opens and closes. What the dispatcher takes is in dispatch.ts.
import { and, asc, eq, inArray, or, sql } from 'drizzle-orm';
import { type Failure, isFinished, type RunStatus } from '#core/run.ts';
import type { Database, Queryable, Transaction } from './connect.ts';
import { attempts, stepClaims, steps } from './schema/steps.ts';
import { executions, runs } from './schema/runs.ts';

/** Records that Temporal has the execution. A row that was closed meanwhile stays closed. */
export async function markDispatched(db: Queryable, runId: string, n: number, executionId: string): Promise<void> {
  await db
    .update(executions)
    .set({ dispatch: 'started', executionId })
    .where(and(eq(executions.runId, runId), eq(executions.n, n), eq(executions.dispatch, 'starting')));
}

/**
 * Marks the execution and its run as running, once. Answers false when the execution is already closed or the run
 * was asked to be cancelled, in which case nothing may start.
 */
export async function openExecution(db: Database, runId: string, n: number): Promise<boolean> {
  return await db.transaction(async (tx) => {
    const [run] = await tx
      .select({ cancelRequestedAt: runs.cancelRequestedAt })
      .from(runs)
      .where(eq(runs.id, runId))
      .for('update');
    const [execution] = await tx
      .select()
      .from(executions)
      .where(and(eq(executions.runId, runId), eq(executions.n, n)))
      .for('update');
    if (run === undefined || execution === undefined) return false;
    if (isFinished(execution.status) || run.cancelRequestedAt !== null) return false;
    if (execution.status === 'running') return true;
    await tx
      .update(executions)
      .set({ status: 'running', dispatch: 'started', startedAt: sql`clock_timestamp()` })
      .where(and(eq(executions.runId, runId), eq(executions.n, n)));
    await tx
      .update(runs)
      .set({
        status: 'running',
        waitingReason: null,
        startedAt: sql`coalesce(${runs.startedAt}, clock_timestamp())`,
        updatedAt: sql`clock_timestamp()`,
      })
      .where(eq(runs.id, runId));
    return true;
  });
}

export interface Closing {
  runId: string;
  n: number;
  status: Extract<RunStatus, 'succeeded' | 'failed' | 'cancelled'>;
  failure: Failure | null;
  /** Plain words for steps that will not run any more. */
  skipReason: string;
}

/**
 * Closes an execution and, if it is the newest, its run. A terminal execution never changes: answers false and
 * changes nothing when it is closed already.
 */
export async function closeExecution(db: Database, closing: Closing): Promise<boolean> {
  return await db.transaction(async (tx) => {
    const { runId, n } = closing;
    await tx.select({ id: runs.id }).from(runs).where(eq(runs.id, runId)).for('update');
    const [execution] = await tx
      .select()
      .from(executions)
      .where(and(eq(executions.runId, runId), eq(executions.n, n)))
      .for('update');
    if (execution === undefined || isFinished(execution.status)) return false;
    const end = { status: closing.status, failure: closing.failure, finishedAt: sql`clock_timestamp()` };
    await tx
      .update(executions)
      .set({ ...end, dispatch: 'closed' })
      .where(and(eq(executions.runId, runId), eq(executions.n, n)));
    await tx
      .update(runs)
      .set({ ...end, waitingReason: null, updatedAt: sql`clock_timestamp()` })
      .where(eq(runs.id, runId));
    await closeSteps(tx, closing);
    return true;
  });
}

async function closeSteps(tx: Transaction, closing: Closing): Promise<void> {
  const mine = and(eq(steps.runId, closing.runId), eq(steps.execution, closing.n));
  // It may wait to be launched again when its run is given up.
  const failed = closing.failure?.step ?? '';
  await tx
    .update(steps)
    .set({ status: closing.status === 'cancelled' ? 'cancelled' : 'failed', finishedAt: sql`clock_timestamp()` })
    .where(and(mine, or(eq(steps.status, 'running'), and(eq(steps.status, 'waiting'), eq(steps.name, failed)))));
  await tx
    .update(steps)
    .set({ status: closing.status === 'cancelled' ? 'cancelled' : 'skipped', reason: closing.skipReason })
    .where(and(mine, inArray(steps.status, ['pending', 'waiting'])));
  await tx
    .update(attempts)
    .set({ status: closing.status === 'cancelled' ? 'cancelled' : 'lost', finishedAt: sql`clock_timestamp()` })
    .where(
      and(
        eq(attempts.runId, closing.runId),
        eq(attempts.execution, closing.n),
        inArray(attempts.status, ['starting', 'running']),
      ),
    );
  await tx.delete(stepClaims).where(and(eq(stepClaims.runId, closing.runId), eq(stepClaims.execution, closing.n)));
}

/** Shows why an open run does not move; null says that it moves again. */
export async function setWaiting(
  db: Queryable,
  runId: string,
  status: Extract<RunStatus, 'running' | 'waiting' | 'needs-attention'>,
  reason: string | null,
): Promise<void> {
  await db
    .update(runs)
    .set({ status, waitingReason: reason, updatedAt: sql`clock_timestamp()` })
    .where(and(eq(runs.id, runId), inArray(runs.status, ['queued', 'running', 'waiting', 'needs-attention'])));
}

export interface OpenExecution {
  runId: string;
  n: number;
  cancelRequestedBy: string | null;
}

/** Executions that Temporal should be running, oldest first; the reconciler compares them with Temporal. */
export async function listOpenExecutions(db: Database, max: number): Promise<OpenExecution[]> {
  return await db
    .select({ runId: executions.runId, n: executions.n, cancelRequestedBy: runs.cancelRequestedBy })
    .from(executions)
    .innerJoin(runs, eq(runs.id, executions.runId))
    .where(
      and(
        eq(executions.dispatch, 'started'),
        sql`${executions.dispatchedAt} < clock_timestamp() - interval '2 seconds'`,
      ),
    )
    .orderBy(asc(executions.createdAt))
    .limit(max);
}
