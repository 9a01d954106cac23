// `digits/42`: the name of a run for people.
import { eq, type SQL, sql } from 'drizzle-orm';
import type { Queryable } from './connect.ts';
import { projects } from './schema/projects.ts';
import { runs } from './schema/runs.ts';

/** Of the row, where runs and projects are joined. */
export const runLabel: SQL<string> = sql<string>`${projects.name} || '/' || ${runs.number}`;

/** Of the run with this id; null where the id is. */
export function labelOfRun(runId: unknown): SQL<string> {
  return sql<string>`(select p.name || '/' || r.number from runs r join projects p on p.id = r.project_id where r.id = ${runId})`;
}

/** The run exists: its id was read from a reference to it. */
export async function loadLabel(db: Queryable, runId: string): Promise<string> {
  const [row] = await db
    .select({ label: runLabel })
    .from(runs)
    .innerJoin(projects, eq(projects.id, runs.projectId))
    .where(eq(runs.id, runId));
  if (row === undefined) throw new TypeError(`There is no run ${runId}.`);
  return row.label;
}
