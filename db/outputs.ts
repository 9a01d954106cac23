// What a stage produced: recorded in one transaction with the end of its attempt, under its fence.
import { and, eq, inArray } from 'drizzle-orm';
import { formatMetric, type MetricSummary } from '#core/metrics.ts';
import { type AttemptEnd, type AttemptId, closeAttempt, holdFence } from './attempts.ts';
import type { Database, Queryable, Transaction } from './connect.ts';
import { resultRun } from './result-run.ts';
import { blobs } from './schema/blobs.ts';
import { artifacts, metrics, steps } from './schema/steps.ts';
import { closeStep } from './steps.ts';

export interface Output {
  path: string;
  sha256: string;
  sizeBytes: number;
  mediaType: string;
  executable: boolean;
}

export type Artifact = typeof artifacts.$inferSelect;

/** A metric with the file it was read from. */
export type ReportedMetric = MetricSummary & { source: string };

export interface Outputs {
  outputs: Output[];
  metrics: ReportedMetric[];
}

const rowsPerInsertMax = 1_000;

/**
 * Records the outputs and closes attempt and step as succeeded. A superseded attempt changes nothing and gets false.
 * The blobs' rows are locked and live while the references are written.
 */
export async function succeedAttempt(
  db: Database,
  id: AttemptId & { execution: number },
  found: Outputs,
  end: Omit<AttemptEnd, 'status' | 'failure'>,
): Promise<boolean> {
  return await db.transaction(async (tx) => {
    if (!(await holdFence(tx, id))) return false;
    await insertOutputs(tx, id, found);
    await closeAttempt(tx, id, { ...end, status: 'succeeded' });
    await closeStep(tx, id, {
      status: 'succeeded',
      fence: id.fence,
      facts: { outputs: found.outputs.length, metrics: found.metrics.length, ...end.facts },
    });
    return true;
  });
}

async function insertOutputs(tx: Transaction, id: AttemptId, found: Outputs): Promise<void> {
  const at = { runId: id.runId, step: id.step, fence: id.fence };
  for (const part of parts(found.outputs)) {
    await requireLive(
      tx,
      part.map((output) => output.sha256),
    );
    await tx
      .insert(artifacts)
      .values(part.map((output) => ({ ...at, ...output })))
      .onConflictDoNothing();
  }
  for (const part of parts(found.metrics)) {
    const rows = part.map(({ key, count, lastStep, source, last, min, max }) => ({
      ...at,
      key,
      count,
      lastStep,
      source,
      last: formatMetric(last),
      min: formatMetric(min),
      max: formatMetric(max),
    }));
    await tx.insert(metrics).values(rows).onConflictDoNothing();
  }
}

function parts<T>(items: readonly T[]): T[][] {
  const count = Math.ceil(items.length / rowsPerInsertMax);
  return Array.from({ length: count }, (_, i) => items.slice(i * rowsPerInsertMax, (i + 1) * rowsPerInsertMax));
}

async function requireLive(tx: Transaction, wanted: readonly string[]): Promise<void> {
  const digests = [...new Set(wanted)];
  const live = await tx
    .select({ sha256: blobs.sha256 })
    .from(blobs)
    .where(and(inArray(blobs.sha256, digests), eq(blobs.state, 'live')))
    .for('share');
  if (live.length < digests.length)
    throw new Error('A blob was collected while its artifact was recorded; it is stored again.');
}

/** The outputs of steps that succeeded or were reused in this execution, in the order of the steps. */
export async function listOutputs(db: Queryable, runId: string, execution: number): Promise<Artifact[]> {
  const rows = await db
    .select({ artifact: artifacts })
    .from(steps)
    .innerJoin(
      artifacts,
      and(eq(artifacts.runId, resultRun), eq(artifacts.step, steps.name), eq(artifacts.fence, steps.fence)),
    )
    .where(and(eq(steps.runId, runId), eq(steps.execution, execution)))
    .orderBy(steps.position, artifacts.path);
  return rows.map((row) => row.artifact);
}
