// Schedules as rows, for tests that need other times than people may choose.
import { eq } from 'drizzle-orm';
import type { Database } from '#db/connect.ts';
import { newId } from '#db/ids.ts';
import { projects } from '#db/schema/projects.ts';
import { runs } from '#db/schema/runs.ts';
import { schedules, scheduleTicks } from '#db/schema/schedules.ts';

/** No commit has this hash, so that a run ends in its first step. */
export const missingCommit = 'f'.repeat(40);

export async function insertProject(db: Database, values: Partial<typeof projects.$inferInsert> = {}): Promise<string> {
  const id = newId();
  await db.insert(projects).values({ id, name: `p-${id.slice(-12)}`, createdBy: 'ada', ...values });
  return id;
}

/** By default never due. A cron text may have seven fields: seconds in front, the year at the end, as Temporal reads them. */
export async function insertSchedule(
  db: Database,
  projectId: string,
  values: Partial<typeof schedules.$inferInsert> = {},
): Promise<string> {
  const id = newId();
  await db.insert(schedules).values({
    id,
    projectId,
    name: 'nightly',
    cron: '0 0 1 1 *',
    timezone: 'UTC',
    ref: missingCommit,
    owner: 'ada',
    createdBy: 'ada',
    overlap: 'allow',
    catchUpSeconds: 3_600,
    activeSince: '2026-01-01T00:00:00Z',
    ...values,
  });
  return id;
}

export async function changeScheduleRow(
  db: Database,
  id: string,
  values: Partial<typeof schedules.$inferInsert>,
): Promise<void> {
  await db.update(schedules).set(values).where(eq(schedules.id, id));
}

/** Oldest due time first. */
export async function ticksOf(db: Database, scheduleId: string) {
  const rows = await db
    .select({ tick: scheduleTicks, run: runs })
    .from(scheduleTicks)
    .leftJoin(runs, eq(runs.id, scheduleTicks.runId))
    .where(eq(scheduleTicks.scheduleId, scheduleId))
    .orderBy(scheduleTicks.nominalAt);
  return rows.map(({ tick, run }) => ({ ...tick, nominalAt: isoOf(tick.nominalAt), run }));
}

export async function runsOf(db: Database, projectId: string) {
  return await db.select().from(runs).where(eq(runs.projectId, projectId)).orderBy(runs.number);
}

/** Postgres' spelling of an instant in UTC, as JavaScript spells it. */
export function isoOf(instant: string): string {
  return new Date(instant.replace(' ', 'T').replace(/\+00$/, 'Z')).toISOString();
}
