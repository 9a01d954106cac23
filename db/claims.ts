// Who runs a step, and whose result answers it. A claim is a row with the step key as its primary key: it goes in the
// transaction that writes the result or closes the execution, and is never taken over by time.
import { and, desc, eq, ne, or, sql } from 'drizzle-orm';
import type { Database, Transaction } from './connect.ts';
import { lockLiveBlobs } from './blobs.ts';
import { resultRun } from './result-run.ts';
import { stagesHaveQuotas } from './quotas.ts';
import { labelOfRun, runLabel } from './run-label.ts';
import { projects } from './schema/projects.ts';
import { executions, runs } from './schema/runs.ts';
import { artifacts, stepClaims, steps } from './schema/steps.ts';
import { holdOpenExecution, showWhetherRunWaits, type StepId, stepIs, waitingForSlot } from './steps.ts';

export interface KeyedStage {
  stepKey: string;
  ingredients: Record<string, unknown>;
  /** Where the stage is to run, and how many accelerators it asks for. */
  pool: string;
  devices: number;
  /** Whether equal steps of other runs may take its result. */
  reusable: boolean;
}

/** The run before its execution, in the order in which a run is closed; nobody would undo what comes after the end. */
async function holdRunAndExecution(tx: Transaction, id: StepId): Promise<boolean> {
  await tx.select({ id: runs.id }).from(runs).where(eq(runs.id, id.runId)).for('no key update');
  return await holdOpenExecution(tx, id.runId, id.execution);
}

/**
 * Keeps what identifies the step's result and takes the right to run it. Answers null, or the label of the run that has
 * it, for which this step then is shown to wait. A run that waits for a person and runs nothing gives its right to the
 * next that asks.
 */
export async function takeClaim(db: Database, id: StepId, stage: KeyedStage): Promise<string | null> {
  const { stepKey } = stage;
  return await db.transaction(async (tx) => {
    if (!(await holdRunAndExecution(tx, id))) return null;
    const mine = { runId: id.runId, execution: id.execution, step: id.step };
    const taken = await tx
      .insert(stepClaims)
      .values({ stepKey, ...mine })
      .onConflictDoUpdate({ target: stepClaims.stepKey, set: mine, setWhere: sql`${holderIsIdle} or ${isHeldBy(id)}` })
      .returning({ key: stepClaims.stepKey });
    const holder = taken.length > 0 ? null : await labelOfHolder(tx, stepKey);
    const reason = holder === null ? 'looks for an equal result' : `waits for ${holder}, which runs an equal step`;
    await tx
      .update(steps)
      .set({ ...stage, status: 'waiting', waitsFor: 'equal', reason })
      .where(isOpen(id));
    await showWhetherRunWaits(tx, id.runId, id.execution);
    return holder;
  });
}

const isOpen = (id: StepId) => and(stepIs(id), sql`${steps.status} in ('pending', 'waiting', 'running')`);

async function labelOfHolder(tx: Transaction, stepKey: string): Promise<string> {
  const [holder] = await tx
    .select({ label: runLabel })
    .from(stepClaims)
    .innerJoin(runs, eq(runs.id, stepClaims.runId))
    .innerJoin(projects, eq(projects.id, runs.projectId))
    .where(eq(stepClaims.stepKey, stepKey));
  return holder?.label ?? 'another run';
}

const isHeldBy = (id: StepId) =>
  and(eq(stepClaims.runId, id.runId), eq(stepClaims.execution, id.execution), eq(stepClaims.step, id.step));

const holderIsIdle = sql`(
  exists (select 1 from runs r where r.id = ${stepClaims.runId} and r.status = 'needs-attention')
  and not exists (select 1 from attempts a where a.run_id = ${stepClaims.runId} and a.step = ${stepClaims.step}
    and a.status in ('starting', 'running')))`;

export type QueuedFor = 'quota' | 'slot';

/** The step is to run: it joins the queue of its pool, or that of its quota first. Answers which, null when it is over. */
export async function queueStage(db: Database, id: StepId, stage: KeyedStage): Promise<QueuedFor | null> {
  return await db.transaction(async (tx) => {
    if (!(await holdRunAndExecution(tx, id))) return null;
    const waits = (await stagesHaveQuotas(tx)) ? waitingForQuota : waitingForSlot(stage.pool);
    await tx
      .update(steps)
      .set({ ...stage, status: 'waiting', ...waits, waitingSince: sql`clock_timestamp()` })
      .where(isOpen(id));
    await showWhetherRunWaits(tx, id.runId, id.execution);
    return waits.waitsFor;
  });
}

/** Until it is admitted, which also says what exactly it waits for. */
const waitingForQuota = { waitsFor: 'quota' as const, reason: 'waits for quota' };

/** A result that was made before, by the attempt `fence` of the step of that name in that run; 0 of a platform step. */
export interface EarlierResult {
  runId: string;
  label: string;
  fence: number;
  facts: Record<string, unknown> | null;
  /** Digests of its files, each once. */
  blobs: string[];
}

const resultColumns = {
  runId: resultRun,
  label: labelOfRun(resultRun),
  fence: sql<number>`coalesce(${steps.fence}, 0)`,
  facts: steps.facts,
  blobs: sql<string[]>`array(select distinct a.sha256 from artifacts a
    where a.run_id = ${resultRun} and a.step = ${steps.name} and a.fence = ${steps.fence})`,
};

/** The result of a step that counts for the run: of its newest execution that has one. */
export async function findResult(db: Database, runId: string, step: string): Promise<EarlierResult | null> {
  const [row] = await db
    .select(resultColumns)
    .from(steps)
    .where(and(eq(steps.runId, runId), eq(steps.name, step), sql`${steps.status} in ('succeeded', 'reused')`))
    .orderBy(desc(steps.execution))
    .limit(1);
  return row ?? null;
}

const candidatesMax = 3;

/** Results of equal steps, newest first: the run's own, and those of other runs of the project `sharedWith`. */
export async function findEarlierResults(
  db: Database,
  id: StepId,
  stepKey: string,
  sharedWith: string | null,
): Promise<EarlierResult[]> {
  const own = and(eq(steps.runId, id.runId), ne(steps.execution, id.execution));
  const isGiven = and(eq(steps.reusable, true), eq(steps.status, 'succeeded'));
  const isOfProject = sql`(select r.project_id from runs r where r.id = ${steps.runId}) = ${sharedWith}::uuid`;
  const others = and(isGiven, ne(steps.runId, id.runId), isOfProject);
  return await db
    .select(resultColumns)
    .from(steps)
    .where(
      and(
        eq(steps.stepKey, stepKey),
        eq(steps.name, id.step),
        sql`${steps.status} in ('succeeded', 'reused')`,
        sharedWith === null ? own : or(own, others),
      ),
    )
    .orderBy(desc(steps.finishedAt))
    .limit(candidatesMax);
}

/** The files of a result. */
export async function listFilesOfResult(
  db: Database,
  { runId, fence }: Pick<EarlierResult, 'runId' | 'fence'>,
  step: string,
): Promise<Pick<typeof artifacts.$inferSelect, 'step' | 'path' | 'executable' | 'sha256'>[]> {
  const { path, executable, sha256 } = artifacts;
  return await db
    .select({ step: artifacts.step, path, executable, sha256 })
    .from(artifacts)
    .where(and(eq(artifacts.runId, runId), eq(artifacts.step, step), eq(artifacts.fence, fence)));
}

/**
 * Answers the step with an earlier result, and gives up its claim. The blobs' rows are locked and live meanwhile.
 * Answers false when the execution is closed or the step is. @throws blob-missing
 */
export async function reuseResult(
  db: Database,
  id: StepId,
  stage: KeyedStage,
  result: EarlierResult,
): Promise<boolean> {
  return await db.transaction(async (tx) => {
    if (!(await holdRunAndExecution(tx, id))) return false;
    await lockLiveBlobs(tx, result.blobs);
    const [before] = await tx.select({ status: steps.status }).from(steps).where(stepIs(id)).for('no key update');
    const changed = await tx
      .update(steps)
      .set({
        ...stage,
        status: 'reused',
        reusedFrom: result.runId,
        fence: result.fence,
        facts: result.facts,
        reason: null,
        waitsFor: null,
        startedAt: sql`clock_timestamp()`,
        finishedAt: sql`clock_timestamp()`,
      })
      .where(and(stepIs(id), sql`${steps.status} in ('pending', 'waiting')`))
      .returning({ name: steps.name });
    // A step that never waited has no claim, and its run was not shown as waiting for it.
    if (before?.status === 'waiting') {
      await tx.delete(stepClaims).where(isHeldBy(id));
      await showWhetherRunWaits(tx, id.runId, id.execution);
    }
    return changed.length > 0;
  });
}

/** Stages that a person wants to run in this execution whatever results are kept. */
export async function listRerun(db: Database, runId: string, n: number): Promise<string[]> {
  const [row] = await db
    .select({ rerun: executions.rerun })
    .from(executions)
    .where(and(eq(executions.runId, runId), eq(executions.n, n)));
  return row?.rerun ?? [];
}
