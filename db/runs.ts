// Runs as people see and change them. What activities write is in executions.ts, steps.ts and attempts.ts.
import { and, asc, desc, eq, sql } from 'drizzle-orm';
import { DomainError } from '#core/errors.ts';
import { runCan } from '#core/run.ts';
import { recordAudit } from './audit.ts';
import type { Database, Queryable, Transaction } from './connect.ts';
import { durationMs, isoInstant, isoInstantOrNull } from './instants.ts';
import { summaryColumns } from './run-summary.ts';
import { labelOfRun } from './run-label.ts';
import { aliases, models, versions } from './schema/models.ts';
import { projects } from './schema/projects.ts';
import { runData } from './schema/run-data.ts';
import { executions, runs } from './schema/runs.ts';
import { attempts, steps } from './schema/steps.ts';

/** Everything about one run but its steps. The id was found before, so the run exists. */
export async function getRunDetail(db: Queryable, id: string) {
  const [row] = await db
    .select({
      ...summaryColumns,
      note: runs.note,
      overrides: runs.overrides,
      params: runs.params,
      seed: runs.seed,
      seedAsked: runs.seedAsked,
      command: runs.command,
      reuse: runs.reuse,
      like: runs.likeRunId,
      resumedFrom: runs.resumedFrom,
      reproduces: runs.reproduces,
      reproducesOnly: runs.reproducesOnly,
      tree: runs.tree,
      commitAuthor: runs.commitAuthor,
      environmentKey: runs.environmentKey,
      config: runs.config,
      gateReport: runs.gateReport,
      manifestSha256: runs.manifestSha256,
      statementSha256: runs.statementSha256,
      sourceSha256: runs.sourceSha256,
      patchSha256: runs.patchSha256,
      deleteAfter: isoInstantOrNull(runs.deleteAfter),
      cancelRequestedAt: isoInstantOrNull(runs.cancelRequestedAt),
      cancelRequestedBy: runs.cancelRequestedBy,
    })
    .from(runs)
    .innerJoin(projects, eq(projects.id, runs.projectId))
    .where(eq(runs.id, id));
  if (row === undefined) throw new TypeError(`Run ${id} is gone although runs are not deleted.`);
  return row;
}

export async function listExecutions(db: Queryable, runId: string) {
  return await db
    .select({
      n: executions.n,
      status: executions.status,
      executionId: executions.executionId,
      createdAt: isoInstant(executions.createdAt),
      startedAt: isoInstantOrNull(executions.startedAt),
      finishedAt: isoInstantOrNull(executions.finishedAt),
    })
    .from(executions)
    .where(eq(executions.runId, runId))
    .orderBy(asc(executions.n));
}

const newestExecution = (runId: string) =>
  sql`(select max(n) from executions where executions.run_id = ${runId}::uuid)`;

/** The steps of the newest execution, in order. */
export async function listRunSteps(db: Queryable, runId: string) {
  return await db
    .select({
      name: steps.name,
      kind: steps.kind,
      position: steps.position,
      needs: steps.needs,
      status: steps.status,
      reason: steps.reason,
      stepKey: steps.stepKey,
      reusedFrom: sql<string | null>`${labelOfRun(steps.reusedFrom)}`,
      facts: steps.facts,
      failure: steps.failure,
      fence: steps.fence,
      startedAt: isoInstantOrNull(steps.startedAt),
      finishedAt: isoInstantOrNull(steps.finishedAt),
      durationMs: durationMs(steps.startedAt, steps.finishedAt),
    })
    .from(steps)
    .where(and(eq(steps.runId, runId), sql`${steps.execution} = ${newestExecution(runId)}`))
    .orderBy(asc(steps.position), asc(steps.name));
}

/** Every attempt of the run, oldest first. */
export async function listRunAttempts(db: Queryable, runId: string) {
  return await db
    .select({
      step: attempts.step,
      attempt: attempts.fence,
      execution: attempts.execution,
      status: attempts.status,
      node: attempts.nodeId,
      pool: attempts.pool,
      devices: attempts.devices,
      createdAt: isoInstant(attempts.createdAt),
      startedAt: isoInstantOrNull(attempts.startedAt),
      finishedAt: isoInstantOrNull(attempts.finishedAt),
      exitCode: attempts.exitCode,
      signal: attempts.signal,
      failure: attempts.failure,
      peakMemoryBytes: attempts.peakMemoryBytes,
      cpuSeconds: attempts.cpuSeconds,
      hardware: attempts.hardware,
      restoredFrom: attempts.restoredFrom,
      facts: attempts.facts,
    })
    .from(attempts)
    .where(eq(attempts.runId, runId))
    .orderBy(asc(attempts.step), asc(attempts.fence));
}

/** The model versions a run made, with the aliases that point at them now. */
export async function listVersionsOfRun(db: Queryable, runId: string) {
  return await db
    .select({
      model: models.name,
      version: versions.number,
      aliases: sql<string[]>`array(select a.alias from ${aliases} a
        where a.model_id = ${versions.modelId} and a.version = ${versions.number} order by a.alias)`,
    })
    .from(versions)
    .innerJoin(models, eq(models.id, versions.modelId))
    .where(eq(versions.runId, runId))
    .orderBy(asc(models.name));
}

export async function listRunData(db: Queryable, runId: string) {
  return await db
    .select({
      name: runData.name,
      to: runData.to,
      asOf: isoInstant(runData.asOf),
      snapshot: runData.snapshotId,
      dataset: runData.datasetName,
      datasetVersion: runData.datasetVersion,
      digest: runData.digest,
      facts: runData.facts,
    })
    .from(runData)
    .where(eq(runData.runId, runId))
    .orderBy(asc(runData.name));
}

export async function changeRun(
  db: Database,
  id: string,
  change: { name?: string | null; note?: string | null; tags?: string[] },
  by: string,
): Promise<void> {
  await db.transaction(async (tx) => {
    await tx
      .update(runs)
      .set({ ...change, updatedAt: sql`clock_timestamp()` })
      .where(eq(runs.id, id));
    await recordAudit(tx, { actor: by, action: 'run.change', target: id, facts: change });
  });
}

/** The run and its newest execution, locked in the order in which a run is closed. */
export async function lockRun(tx: Transaction, id: string) {
  const [run] = await tx.select().from(runs).where(eq(runs.id, id)).for('update');
  if (run === undefined) throw new TypeError(`Run ${id} is gone although runs are not deleted.`);
  const [execution] = await tx
    .select()
    .from(executions)
    .where(eq(executions.runId, id))
    .orderBy(desc(executions.n))
    .limit(1)
    .for('update');
  return { run, execution };
}

export interface CancelRequest {
  /** The execution that Temporal runs or is about to run; null when the run is cancelled already. */
  openExecution: number | null;
}

/**
 * Writes the request to stop. A run that no dispatcher has taken is cancelled here, in this one transaction.
 * Asking twice is not an error. @throws run-finished
 */
export async function requestCancel(db: Database, id: string, by: string): Promise<CancelRequest> {
  return await db.transaction((tx) => requestCancelWithin(tx, id, by));
}

/** The same in a transaction of the caller. @throws run-finished */
export async function requestCancelWithin(tx: Transaction, id: string, by: string): Promise<CancelRequest> {
  const { run, execution } = await lockRun(tx, id);
  if (!runCan('cancel', run.status)) {
    throw new DomainError('run-finished', `The run has ${run.status} already, so there is nothing to cancel.`);
  }
  if (run.cancelRequestedAt === null) {
    await tx
      .update(runs)
      .set({ cancelRequestedAt: sql`clock_timestamp()`, cancelRequestedBy: by, updatedAt: sql`clock_timestamp()` })
      .where(eq(runs.id, id));
    await recordAudit(tx, { actor: by, action: 'run.cancel', target: id });
  }
  const undispatched = execution === undefined || execution.dispatch === 'queued';
  if (undispatched) await closeUndispatched(tx, id, execution?.n ?? 1);
  return { openExecution: undispatched ? null : execution.n };
}

async function closeUndispatched(tx: Transaction, id: string, n: number): Promise<void> {
  const end = { status: 'cancelled' as const, finishedAt: sql`clock_timestamp()` };
  await tx
    .update(executions)
    .set({ ...end, dispatch: 'closed' })
    .where(and(eq(executions.runId, id), eq(executions.n, n)));
  await tx
    .update(runs)
    .set({ ...end, waitingReason: null })
    .where(eq(runs.id, id));
}

/** What a run was asked for, for a new run that is to be like it. */
export async function getRunToCopy(db: Queryable, id: string) {
  const [row] = await db
    .select({
      id: runs.id,
      ref: runs.ref,
      branch: runs.branch,
      commit: runs.commit,
      overrides: runs.overrides,
      seed: runs.seed,
      seedAsked: runs.seedAsked,
      command: runs.command,
      asOf: isoInstant(runs.asOf),
      experiment: runs.experiment,
      dirty: runs.dirty,
      patchSha256: runs.patchSha256,
    })
    .from(runs)
    .where(eq(runs.id, id));
  return row;
}
