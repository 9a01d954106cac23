// Steps: what the activities write about the parts of a run.
import { and, eq, inArray, sql } from 'drizzle-orm';
import { type Failure, isFinished } from '#core/run.ts';
import type { Database, Queryable, Transaction } from './connect.ts';
import { executions, runs } from './schema/runs.ts';
import { stepClaims, steps } from './schema/steps.ts';

export interface StepId {
  runId: string;
  execution: number;
  step: string;
}

export interface NewStep {
  name: string;
  kind: 'platform' | 'stage';
  needs: string[];
}

/** Lays out the steps of an execution in order; repeating it changes nothing, and a closed execution gets no more. */
export async function insertSteps(db: Database, runId: string, execution: number, rows: NewStep[]): Promise<void> {
  const values = rows.map((row, position) => ({ runId, execution, position, ...row }));
  await db.transaction(async (tx) => {
    if (!(await holdOpenExecution(tx, runId, execution))) return;
    await tx
      .insert(steps)
      .values(values)
      .onConflictDoUpdate({
        target: [steps.runId, steps.execution, steps.name],
        set: { position: sql`excluded.position`, needs: sql`excluded.needs` },
      });
  });
}

/** Keeps the execution from being closed until this transaction ends; answers false when it is closed already. */
export async function holdOpenExecution(tx: Transaction, runId: string, execution: number): Promise<boolean> {
  const [row] = await tx
    .select({ status: executions.status })
    .from(executions)
    .where(and(eq(executions.runId, runId), eq(executions.n, execution)))
    .for('share');
  return row !== undefined && !isFinished(row.status);
}

export function stepIs(id: StepId) {
  return and(eq(steps.runId, id.runId), eq(steps.execution, id.execution), eq(steps.name, id.step));
}

/** Marks a step as running unless it is closed; the first start is kept when an attempt is repeated. */
export async function startStep(db: Queryable, id: StepId): Promise<void> {
  await db
    .update(steps)
    .set({
      status: 'running',
      reason: null,
      waitsFor: null,
      startedAt: sql`coalesce(${steps.startedAt}, clock_timestamp())`,
    })
    .where(and(stepIs(id), inArray(steps.status, ['pending', 'waiting', 'running'])));
}

export interface StepEnd {
  status: 'succeeded' | 'reused' | 'failed' | 'cancelled' | 'skipped';
  reusedFrom?: string;
  reason?: string | null;
  facts?: Record<string, unknown>;
  failure?: Failure | null;
  fence?: number;
}

/** Closes a step and gives up its claim, in one statement. A closed step keeps its result. */
export async function closeStep(db: Queryable, id: StepId, end: StepEnd): Promise<void> {
  const change = db
    .update(steps)
    .set({
      status: end.status,
      reason: end.reason ?? null,
      finishedAt: sql`clock_timestamp()`,
      ...(end.facts === undefined ? {} : { facts: end.facts }),
      ...(end.failure === undefined ? {} : { failure: end.failure }),
      ...(end.fence === undefined ? {} : { fence: end.fence }),
      ...(end.reusedFrom === undefined ? {} : { reusedFrom: end.reusedFrom }),
    })
    .where(and(stepIs(id), inArray(steps.status, ['pending', 'waiting', 'running'])))
    .returning({ name: steps.name });
  await db
    .with(db.$with('closed').as(change))
    .delete(stepClaims)
    .where(and(eq(stepClaims.runId, id.runId), eq(stepClaims.execution, id.execution), eq(stepClaims.step, id.step)));
}

export async function getStep(db: Queryable, id: StepId): Promise<typeof steps.$inferSelect | undefined> {
  const [row] = await db.select().from(steps).where(stepIs(id));
  return row;
}

export async function listSteps(db: Queryable, runId: string, execution: number) {
  return await db
    .select()
    .from(steps)
    .where(and(eq(steps.runId, runId), eq(steps.execution, execution)))
    .orderBy(steps.position);
}

/** Writes what identifies the step's result, before anything runs. */
export async function setStepKey(
  db: Queryable,
  id: StepId,
  stepKey: string,
  ingredients: Record<string, unknown>,
  reusable: boolean,
): Promise<void> {
  await db.update(steps).set({ stepKey, ingredients, reusable }).where(stepIs(id));
}

export function waitingForSlot(pool: string) {
  return { waitsFor: 'slot' as const, reason: `waits for a slot in pool ${pool}` };
}

/** The launch of a stage was lost; the stage waits for a slot again and is still admitted. */
export async function waitAgain(db: Database, id: StepId): Promise<void> {
  await db.transaction(async (tx) => {
    await tx.select({ id: runs.id }).from(runs).where(eq(runs.id, id.runId)).for('no key update');
    if (!(await holdOpenExecution(tx, id.runId, id.execution))) return;
    await tx
      .update(steps)
      .set({
        status: 'waiting',
        waitsFor: 'slot',
        reason: sql`'waits for a slot in pool ' || ${steps.pool}`,
        waitingSince: sql`clock_timestamp()`,
      })
      .where(and(stepIs(id), eq(steps.status, 'running'), sql`${steps.pool} is not null`));
    await showWhetherRunWaits(tx, id.runId, id.execution);
  });
}

/** Says what the making of the environment waits for while the pool has no node; answers whether it does. */
export async function waitForNode(db: Database, id: StepId, pool: string): Promise<boolean> {
  const waiting = await db
    .update(steps)
    .set({
      status: 'waiting',
      // What keeps the nodes that are there from taking it.
      reason: sql`${`waits for a node of pool ${pool}`} || coalesce((
        select ': ' || string_agg(id || ' is ' || state || coalesce(' (' || nodes.state_reason || ')', ''), ', ' order by id)
        from nodes where pool = ${pool} and state <> 'active' and lease_expires_at > clock_timestamp()), '')`,
    })
    .where(
      and(
        stepIs(id),
        eq(steps.status, 'pending'),
        sql`not exists (select 1 from nodes where pool = ${pool} and state = 'active' and lease_expires_at > clock_timestamp())`,
      ),
    )
    .returning({ name: steps.name });
  return waiting.length > 0;
}

/** The run is shown as waiting exactly while no step of it runs. */
export async function showWhetherRunWaits(db: Queryable, runId: string, execution: number): Promise<void> {
  await db.execute(sql`
    update runs set
      status = case when busy.n > 0 then 'running' when held.reason is not null then 'waiting' else 'running' end,
      waiting_reason = case when busy.n > 0 then null else held.reason end,
      updated_at = clock_timestamp()
    from (select count(*) n from steps where run_id = ${runId} and execution = ${execution} and status = 'running') busy,
         (select min(name || ' ' || reason) reason from steps
          where run_id = ${runId} and execution = ${execution} and status = 'waiting') held
    where id = ${runId} and runs.status in ('running', 'waiting', 'needs-attention')`);
}

/** What resolve-commit found is written once; a repeated attempt reads it back. */
export async function setResolved(
  db: Queryable,
  runId: string,
  found: Partial<typeof runs.$inferInsert>,
): Promise<boolean> {
  const written = await db
    .update(runs)
    .set({ ...found, updatedAt: sql`clock_timestamp()` })
    .where(and(eq(runs.id, runId), sql`${runs.plan} is null`))
    .returning({ id: runs.id });
  return written.length > 0;
}
