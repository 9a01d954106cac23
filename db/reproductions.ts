// What a reproduction reads of its original: facts that were written once and results that count.
import { and, desc, eq, isNotNull, sql } from 'drizzle-orm';
import type { Queryable } from './connect.ts';
import { runData } from './schema/run-data.ts';
import { steps } from './schema/steps.ts';

/** The step in the newest execution in which it found something. */
export async function findStepWithFacts(db: Queryable, runId: string, name: string) {
  const [row] = await db
    .select()
    .from(steps)
    .where(and(eq(steps.runId, runId), eq(steps.name, name), isNotNull(steps.facts)))
    .orderBy(desc(steps.execution))
    .limit(1);
  return row;
}

/** The digests of the files behind a run's datasets, each once. */
export async function listDatasetBlobs(db: Queryable, runId: string): Promise<Array<{ name: string; sha256: string }>> {
  const { rows } = await db.execute<{ name: string; sha256: string }>(sql`
    select distinct d.name, f.sha256 from ${runData} d
    join dataset_files f on f.dataset_name = d.dataset_name and f.version = d.dataset_version
    where d.run_id = ${runId} order by 1, 2`);
  return rows;
}
