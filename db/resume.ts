// A closed run goes on: in a new execution of its own, or as a new run that takes it up.
import { and, desc, eq, inArray, lt, or, sql } from 'drizzle-orm';
import type pg from 'pg';
import { DomainError } from '#core/errors.ts';
import { isFinished, openRunStatuses, type RunStatus, runCan } from '#core/run.ts';
import { recordAudit } from './audit.ts';
import type { Database, Queryable, Transaction } from './connect.ts';
import { findRequest, type RequestKey, rememberRequest } from './idempotency.ts';
import { lockRun } from './runs.ts';
import { runLabel } from './run-label.ts';
import { projects } from './schema/projects.ts';
import { executions, runs } from './schema/runs.ts';
import { steps } from './schema/steps.ts';
import { type Submit, submitWithin } from './submit.ts';
import { transact } from './transact.ts';
import { findVerdict } from './verdicts.ts';

export interface ResumeRequest {
  by: string;
  request: RequestKey | null;
  /** Stages that are to run whatever results are kept. */
  rerun: string[];
}

/**
 * Execution n+1 of the same run, queued. Of several callers one gets it.
 * @throws run-not-finished, conflict, idempotency-conflict
 */
export async function resumeRun(db: Database, id: string, { by, request, rerun }: ResumeRequest): Promise<void> {
  await db.transaction(async (tx) => {
    const { run, execution } = await lockRun(tx, id);
    if ((await rememberRequest(tx, request, id)) !== null) return;
    requireClosed(run.status, execution?.status);
    if ((await findVerdict(tx, id)) !== null) throw verdictStands();
    if (!runCan('resume', run.status)) throw nothingToResume();
    const n = (execution?.n ?? 0) + 1;
    await tx.insert(executions).values({ runId: id, n, rerun });
    await tx
      .update(runs)
      .set({
        status: 'queued',
        waitingReason: null,
        failure: null,
        finishedAt: null,
        deleteAfter: null,
        cancelRequestedAt: null,
        cancelRequestedBy: null,
        updatedAt: sql`clock_timestamp()`,
      })
      .where(eq(runs.id, id));
    await recordAudit(tx, { actor: by, action: 'run.resume', target: id, facts: { execution: n, rerun } });
  });
}

/**
 * A new run that takes up a closed one. While such a run is open, an equal one is refused: the two would do the same.
 * @throws run-not-finished, conflict, idempotency-conflict
 */
export async function resumeAsNewRun(pool: pg.Pool, submit: Submit & { resumedFrom: string }): Promise<string> {
  return await transact(pool, async (tx, client) => {
    const { run, execution } = await lockRun(tx, submit.resumedFrom);
    const before = submit.request === null ? null : await findRequest(tx, submit.request);
    if (before !== null) return before;
    requireClosed(run.status, execution?.status);
    if (run.reproduces !== null) throw reproductionIsFixed();
    const equal = await findOpenEqual(tx, submit);
    if (equal !== undefined) {
      const advice = `Follow it with \`assay show ${equal.label}\`, or cancel it first.`;
      throw new DomainError('conflict', `${equal.label} already resumes this run with the same changes. ${advice}`);
    }
    const { runId } = await submitWithin(client, submit);
    const facts = { run: runId, rerun: submit.rerun };
    await recordAudit(tx, { actor: submit.owner, action: 'run.resume', target: submit.resumedFrom, facts });
    return runId;
  });
}

async function findOpenEqual(tx: Transaction, submit: Submit & { resumedFrom: string }) {
  const [found] = await tx
    .select({ label: runLabel })
    .from(runs)
    .innerJoin(projects, eq(projects.id, runs.projectId))
    .innerJoin(executions, and(eq(executions.runId, runs.id), eq(executions.n, 1)))
    .where(
      and(
        eq(runs.resumedFrom, submit.resumedFrom),
        inArray(runs.status, [...openRunStatuses]),
        sql`${runs.commit} is not distinct from ${submit.commit}`,
        sql`${runs.overrides} = ${JSON.stringify(submit.overrides)}::jsonb`,
        sql`to_jsonb(${executions.rerun}) = ${JSON.stringify(submit.rerun)}::jsonb`,
      ),
    )
    .limit(1);
  return found;
}

/** @throws run-not-finished for a run that is open, with what to do about it. */
export function requireClosed(status: RunStatus, execution: RunStatus = status): void {
  if (isFinished(status) && isFinished(execution)) return;
  const advice =
    status === 'needs-attention'
      ? 'Answer it with `assay resolve RUN retry`, or cancel it first.'
      : 'Wait for its end, or cancel it first.';
  throw new DomainError('run-not-finished', `The run is ${status}; only a closed run can be resumed. ${advice}`);
}

function verdictStands(): DomainError {
  return new DomainError(
    'conflict',
    'The run reproduces another one and has its verdict, which stands. Reproduce the original again instead.',
  );
}

function reproductionIsFixed(): DomainError {
  return new DomainError(
    'conflict',
    'The run reproduces another one, so nothing about it can be changed. Resume the original, or submit a new run.',
  );
}

export function nothingToResume(): DomainError {
  const advice =
    'Change something (--commit, -P), name the stage to run again (--from STAGE), or submit a new run with `assay run`.';
  return new DomainError('conflict', `The run has succeeded, so there is nothing to resume. ${advice}`);
}

export type KeptStep = typeof steps.$inferSelect;

/** The steps of every execution of the run, newest execution first. */
export async function listStepsOfRun(db: Queryable, runId: string): Promise<KeptStep[]> {
  return await db
    .select()
    .from(steps)
    .where(eq(steps.runId, runId))
    .orderBy(desc(steps.execution), steps.position, steps.name);
}

export async function countExecutions(db: Queryable, runId: string): Promise<number> {
  return await db.$count(executions, eq(executions.runId, runId));
}

/** What build-environment found the last time for the run, or for the run it takes up; null when it never came to an end. */
export async function findBuiltBefore(
  db: Queryable,
  run: { id: string; resumedFrom: string | null },
  execution: number,
): Promise<Record<string, unknown> | null> {
  const own = and(eq(steps.runId, run.id), lt(steps.execution, execution));
  const [row] = await db
    .select({ facts: steps.facts })
    .from(steps)
    .where(
      and(
        run.resumedFrom === null ? own : or(own, eq(steps.runId, run.resumedFrom)),
        eq(steps.name, 'build-environment'),
        sql`${steps.status} in ('succeeded', 'reused')`,
      ),
    )
    .orderBy(desc(eq(steps.runId, run.id)), desc(steps.execution))
    .limit(1);
  return row?.facts ?? null;
}
