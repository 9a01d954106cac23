// A run with its project, as the activities need it.
import { and, eq, isNull, or, sql } from 'drizzle-orm';
import type { GateResult } from '#core/run.ts';
import type { Queryable } from './connect.ts';
import { projects } from './schema/projects.ts';
import { runs } from './schema/runs.ts';

export interface LoadedRun {
  run: typeof runs.$inferSelect;
  project: typeof projects.$inferSelect;
}

/** The run exists: activities are only called for runs that were dispatched. */
export async function loadRun(db: Queryable, runId: string): Promise<LoadedRun> {
  const [row] = await db
    .select({ run: runs, project: projects })
    .from(runs)
    .innerJoin(projects, eq(projects.id, runs.projectId))
    .where(eq(runs.id, runId));
  if (row === undefined) throw new TypeError(`There is no run ${runId}.`);
  return row;
}

/**
 * Manifest and statement belong together: a manifest that has its statement keeps it, so that repeating the step
 * replaces nothing, also when the key has changed meanwhile.
 */
export async function setProof(
  db: Queryable,
  runId: string,
  { manifestSha256, statementSha256 }: { manifestSha256: string; statementSha256: string },
): Promise<void> {
  await db
    .update(runs)
    .set({ manifestSha256, statementSha256 })
    .where(
      and(
        eq(runs.id, runId),
        or(sql`${runs.manifestSha256} is distinct from ${manifestSha256}`, isNull(runs.statementSha256)),
      ),
    );
}

/** A run whose gate failed is flagged: nothing of it is deleted before `deleteAfter`. */
export async function setGate(
  db: Queryable,
  runId: string,
  gate: { result: GateResult; report: unknown; deleteAfter: Date | null },
): Promise<void> {
  await db
    .update(runs)
    .set({ gateResult: gate.result, gateReport: gate.report, deleteAfter: gate.deleteAfter })
    .where(eq(runs.id, runId));
}
