// What load-data gave a run, pinned: a repeated or retried execution reads it back.
import { asc, eq } from 'drizzle-orm';
import type { Queryable } from './connect.ts';
import { runData } from './schema/run-data.ts';

export type RunData = typeof runData.$inferSelect;

export async function listRunData(db: Queryable, runId: string): Promise<RunData[]> {
  return await db.select().from(runData).where(eq(runData.runId, runId)).orderBy(asc(runData.name));
}

/** The first write counts: a run's data never changes. */
export async function pinRunData(db: Queryable, row: typeof runData.$inferInsert): Promise<void> {
  await db.insert(runData).values(row).onConflictDoNothing();
}
