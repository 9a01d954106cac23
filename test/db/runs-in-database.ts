// Runs as rows, without anything that runs them.
import { sql } from 'drizzle-orm';
import type { Database } from '#db/connect.ts';
import { newId } from '#db/ids.ts';
import { projects } from '#db/schema/projects.ts';
import { executions, runs } from '#db/schema/runs.ts';
import { steps } from '#db/schema/steps.ts';

let number = 1;

export async function insertProject(db: Database, name: string): Promise<string> {
  const id = newId();
  await db.insert(projects).values({ id, name, createdBy: 'ada' });
  return id;
}

export async function insertQueued(
  db: Database,
  projectId: string,
  more: Partial<typeof runs.$inferInsert> = {},
): Promise<string> {
  const id = newId();
  const asOf = new Date().toISOString();
  await db.transaction(async (tx) => {
    await tx
      .insert(runs)
      .values({ id, projectId, number: number++, owner: 'ada', ref: 'main', asOf, overrides: {}, ...more });
    await tx.insert(executions).values({ runId: id, n: 1 });
  });
  return id;
}

/** A run whose stage `train` waits for a quota. */
export async function insertWaiting(
  db: Database,
  projectId: string,
  more: Partial<typeof runs.$inferInsert> & { devices?: number } = {},
): Promise<string> {
  const { devices = 0, ...run } = more;
  const runId = await insertQueued(db, projectId, { status: 'running', ...run });
  await db.update(executions).set({ dispatch: 'started', status: 'running' }).where(sql`run_id = ${runId}`);
  await db.insert(steps).values({
    runId,
    execution: 1,
    name: 'train',
    kind: 'stage',
    position: 1,
    pool: 'cpu',
    devices,
    status: 'waiting',
    waitsFor: 'quota',
    reason: 'waits for quota',
    waitingSince: new Date(),
  });
  return runId;
}
