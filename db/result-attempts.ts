// A run as a comparison sees it: the steps of its newest execution and the attempts that made their results.
import { and, asc, eq, sql } from 'drizzle-orm';
import type { Queryable } from './connect.ts';
import { resultRun } from './result-run.ts';
import { attempts, steps } from './schema/steps.ts';

const ofNewestExecution = (runId: string) =>
  and(
    eq(steps.runId, runId),
    sql`${steps.execution} = (select max(e.execution) from steps e where e.run_id = ${runId}::uuid)`,
  );

export async function listNewestSteps(db: Queryable, runId: string): Promise<Array<typeof steps.$inferSelect>> {
  return await db.select().from(steps).where(ofNewestExecution(runId)).orderBy(asc(steps.position));
}

/** In the order of the stages. Of a reused step, the attempt in the run that the result came from. */
export async function listResultAttempts(db: Queryable, runId: string) {
  return await db
    .select({ step: steps.name, hardware: attempts.hardware, devices: attempts.devices })
    .from(steps)
    .innerJoin(
      attempts,
      and(eq(attempts.runId, resultRun), eq(attempts.step, steps.name), eq(attempts.fence, steps.fence)),
    )
    .where(ofNewestExecution(runId))
    .orderBy(asc(steps.position));
}

export type ResultAttempt = Awaited<ReturnType<typeof listResultAttempts>>[number];
