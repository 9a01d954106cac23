// Attempts: launches of stages. The fence grows per run and step; only the current attempt's writes count.
import { and, desc, eq, inArray, sql } from 'drizzle-orm';
import type { Hardware } from '#core/hardware.ts';
import { type Failure, isFinished } from '#core/run.ts';
import type { Database, Queryable, Transaction } from './connect.ts';
import { resultRun } from './result-run.ts';
import { nodes } from './schema/nodes.ts';
import { executions, runs } from './schema/runs.ts';
import { type AttemptStatus, attempts, steps } from './schema/steps.ts';
import { showWhetherRunWaits, startStep } from './steps.ts';

export type Attempt = typeof attempts.$inferSelect;

export interface AttemptId {
  runId: string;
  step: string;
  fence: number;
}

const openStatuses: AttemptStatus[] = ['starting', 'running'];

export function isOpenAttempt(attempt: Attempt): boolean {
  return openStatuses.includes(attempt.status);
}

function attemptIs(id: AttemptId) {
  return and(eq(attempts.runId, id.runId), eq(attempts.step, id.step), eq(attempts.fence, id.fence));
}

export interface NewAttempt {
  runId: string;
  execution: number;
  step: string;
  nodeId: string;
  pool: string;
  devices: string[];
  tokenHashOf: (launch: string) => string;
  leaseMs: number;
  hardware: Partial<Hardware>;
  launchOf: (fence: number) => string;
}

/**
 * Opens the next attempt and supersedes an older open one in the same transaction, so that its writes are refused
 * from then on. Answers null when the run was cancelled or the execution is closed: then nothing may start.
 */
export async function openAttempt(db: Database, wanted: NewAttempt): Promise<Attempt | null> {
  return await db.transaction(async (tx) => {
    if (!(await mayStart(tx, wanted.runId, wanted.execution))) return null;
    const fence = (await supersede(tx, wanted)) + 1;
    const launch = wanted.launchOf(fence);
    const [attempt] = await tx
      .insert(attempts)
      .values({
        runId: wanted.runId,
        step: wanted.step,
        fence,
        execution: wanted.execution,
        nodeId: wanted.nodeId,
        pool: wanted.pool,
        launch,
        devices: wanted.devices,
        tokenHash: wanted.tokenHashOf(launch),
        hardware: wanted.hardware,
        leaseExpiresAt: sql`clock_timestamp() + ${wanted.leaseMs} * interval '1 millisecond'`,
      })
      .returning();
    await startStep(tx, wanted);
    await showWhetherRunWaits(tx, wanted.runId, wanted.execution);
    return attempt ?? null;
  });
}

/** Closes what is open of the step and answers the newest fence, 0 before the first attempt. */
async function supersede(tx: Transaction, { runId, step }: NewAttempt): Promise<number> {
  const isOfStep = and(eq(attempts.runId, runId), eq(attempts.step, step));
  const before = await tx.select({ fence: attempts.fence, status: attempts.status }).from(attempts).where(isOfStep);
  if (before.some(({ status }) => openStatuses.includes(status))) {
    await tx
      .update(attempts)
      .set({ status: 'lost', finishedAt: sql`clock_timestamp()` })
      .where(and(isOfStep, inArray(attempts.status, openStatuses)));
  }
  return Math.max(0, ...before.map(({ fence }) => fence));
}

async function mayStart(tx: Transaction, runId: string, execution: number): Promise<boolean> {
  const [run] = await tx
    .select({ cancelRequestedAt: runs.cancelRequestedAt })
    .from(runs)
    .where(eq(runs.id, runId))
    .for('update');
  const [row] = await tx
    .select({ status: executions.status })
    .from(executions)
    .where(and(eq(executions.runId, runId), eq(executions.n, execution)));
  return run !== undefined && run.cancelRequestedAt === null && row !== undefined && !isFinished(row.status);
}

export async function getAttempt(db: Queryable, id: AttemptId): Promise<Attempt | undefined> {
  const [row] = await db.select().from(attempts).where(attemptIs(id));
  return row;
}

/** The newest attempt of a step in this execution, open or closed. */
export async function latestAttempt(
  db: Queryable,
  runId: string,
  execution: number,
  step: string,
): Promise<Attempt | undefined> {
  const [row] = await db
    .select()
    .from(attempts)
    .where(and(eq(attempts.runId, runId), eq(attempts.execution, execution), eq(attempts.step, step)))
    .orderBy(desc(attempts.fence))
    .limit(1);
  return row;
}

/** Per step of an execution the attempt that made its result, also where that was another run's. */
export async function listResultAttempts(db: Queryable, runId: string, execution: number): Promise<Attempt[]> {
  const rows = await db
    .select({ attempt: attempts })
    .from(steps)
    .innerJoin(
      attempts,
      and(eq(attempts.runId, resultRun), eq(attempts.step, steps.name), eq(attempts.fence, steps.fence)),
    )
    .where(and(eq(steps.runId, runId), eq(steps.execution, execution)))
    .orderBy(steps.position);
  return rows.map(({ attempt }) => attempt);
}

/** The stage was launched; repeated when a worker attaches again, which keeps the first start. */
export async function markAttemptRunning(db: Queryable, id: AttemptId): Promise<boolean> {
  const changed = await db
    .update(attempts)
    .set({ status: 'running', startedAt: sql`coalesce(${attempts.startedAt}, clock_timestamp())` })
    .where(and(attemptIs(id), inArray(attempts.status, openStatuses)))
    .returning({ fence: attempts.fence });
  return changed.length > 0;
}

/** What is known when the launch is prepared, after the attempt was opened. */
export interface LaunchFacts {
  hardware: Pick<Hardware, 'libc' | 'image'>;
  /** Variables by which the stage is seeded and its threads are bounded, as it gets them. */
  variables: Record<string, string>;
}

export async function noteLaunch(db: Queryable, id: AttemptId, { hardware, variables }: LaunchFacts): Promise<void> {
  await db
    .update(attempts)
    .set({
      hardware: sql`coalesce(${attempts.hardware}, '{}') || ${JSON.stringify(hardware)}::jsonb`,
      facts: withFacts({ variables }),
    })
    .where(attemptIs(id));
}

export interface AttemptEnd {
  status: Exclude<AttemptStatus, 'starting' | 'running'>;
  exitCode?: number | null;
  signal?: string | null;
  failure?: Failure | null;
  peakMemoryBytes?: number | null;
  cpuSeconds?: number | null;
  facts?: Record<string, unknown>;
}

/** Sentences about the attempt that people should know of while it runs. */
export async function setNotes(db: Queryable, id: AttemptId, notes: readonly string[]): Promise<void> {
  await db
    .update(attempts)
    .set({ facts: withFacts({ notes }) })
    .where(and(attemptIs(id), inArray(attempts.status, openStatuses)));
}

function withFacts(facts: Record<string, unknown>) {
  return sql`coalesce(${attempts.facts}, '{}') || ${JSON.stringify(facts)}::jsonb`;
}

/** Closes the attempt; answers false when it was superseded or closed before, and then nothing changed. */
export async function closeAttempt(db: Queryable, id: AttemptId, end: AttemptEnd): Promise<boolean> {
  const { facts = {}, ...rest } = end;
  const closed = await db
    .update(attempts)
    .set({ ...rest, facts: withFacts(facts), finishedAt: sql`clock_timestamp()`, tokenHash: null })
    .where(and(attemptIs(id), inArray(attempts.status, openStatuses)))
    .returning({ fence: attempts.fence });
  return closed.length > 0;
}

/** Locks the attempt for a write that only the current one may make; answers false for a superseded one. */
export async function holdFence(tx: Transaction, id: AttemptId): Promise<boolean> {
  const [row] = await tx.select().from(attempts).where(attemptIs(id)).for('update');
  return row !== undefined && isOpenAttempt(row);
}

/** Why a running stage has to stop, or null when it goes on. */
export async function reasonToStop(db: Queryable, id: AttemptId): Promise<'cancelled' | 'ended' | 'superseded' | null> {
  const [row] = await db
    .select({ status: attempts.status, cancel: runs.cancelRequestedAt, execution: executions.status })
    .from(attempts)
    .innerJoin(runs, eq(runs.id, attempts.runId))
    .innerJoin(executions, and(eq(executions.runId, attempts.runId), eq(executions.n, attempts.execution)))
    .where(attemptIs(id));
  if (row === undefined || !openStatuses.includes(row.status)) return 'superseded';
  if (row.cancel !== null) return 'cancelled';
  return isFinished(row.execution) ? 'ended' : null;
}

/** Launches of this node whose attempts are open; everything else the runner still holds is to be removed. */
export async function openLaunches(db: Queryable, nodeId: string): Promise<Attempt[]> {
  return await db
    .select()
    .from(attempts)
    .where(and(eq(attempts.nodeId, nodeId), inArray(attempts.status, openStatuses)));
}

/** Whether the node that runs an attempt has renewed its lease in time, by Postgres' clock. */
export async function isNodeAlive(db: Queryable, nodeId: string): Promise<boolean> {
  const [row] = await db
    .select({ alive: sql<boolean>`${nodes.leaseExpiresAt} > clock_timestamp()` })
    .from(nodes)
    .where(eq(nodes.id, nodeId));
  return row?.alive ?? false;
}
