// Verdicts: written once by the run that reproduces, read for both runs.
import { desc, eq, or, sql } from 'drizzle-orm';
import type { VerdictReport } from '#core/verdict.ts';
import type { Database, Queryable } from './connect.ts';
import { isoInstant } from './instants.ts';
import { labelOfRun } from './run-label.ts';
import { runs } from './schema/runs.ts';
import { verdicts } from './schema/verdicts.ts';

/** The first verdict of a reproduction counts: answers what is recorded after the call. */
export async function keepVerdict(
  db: Database,
  { runId, originalId, report }: { runId: string; originalId: string; report: VerdictReport },
): Promise<VerdictReport> {
  return await db.transaction(async (tx) => {
    const { verdict, grade } = report;
    await tx.insert(verdicts).values({ runId, originalId, verdict, grade, report }).onConflictDoNothing();
    // Whoever watches either run hears of it.
    await tx.update(runs).set({ updatedAt: sql`clock_timestamp()` }).where(eq(runs.id, originalId));
    const [kept] = await tx.select({ report: verdicts.report }).from(verdicts).where(eq(verdicts.runId, runId));
    if (kept === undefined) throw new TypeError(`The verdict of ${runId} is gone although verdicts are not deleted.`);
    return kept.report;
  });
}

export async function findVerdict(db: Queryable, runId: string): Promise<VerdictReport | null> {
  const [row] = await db.select({ report: verdicts.report }).from(verdicts).where(eq(verdicts.runId, runId));
  return row?.report ?? null;
}

/** The verdict on the run as a reproduction, and those on its reproductions; newest first. */
export async function listVerdicts(db: Queryable, runId: string) {
  return await db
    .select({
      run: labelOfRun(verdicts.runId),
      original: labelOfRun(verdicts.originalId),
      report: verdicts.report,
      createdAt: isoInstant(verdicts.createdAt),
    })
    .from(verdicts)
    .where(or(eq(verdicts.runId, runId), eq(verdicts.originalId, runId)))
    .orderBy(desc(verdicts.createdAt), desc(verdicts.runId));
}
