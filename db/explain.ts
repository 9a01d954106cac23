// Reading what the steps of a run are made of, and which earlier run is nearest.
import { and, asc, desc, eq, inArray, lt, sql } from 'drizzle-orm';
import type { Queryable } from './connect.ts';
import { labelOfRun, runLabel } from './run-label.ts';
import { projects } from './schema/projects.ts';
import { executions, runs } from './schema/runs.ts';
import { steps } from './schema/steps.ts';

/** The steps of the newest execution that can have a key, in order. */
export async function listExplainedSteps(db: Queryable, runId: string) {
  return await db
    .select({
      name: steps.name,
      kind: steps.kind,
      status: steps.status,
      reason: steps.reason,
      stepKey: steps.stepKey,
      ingredients: steps.ingredients,
      facts: steps.facts,
      reusedFrom: sql<string | null>`${labelOfRun(steps.reusedFrom)}`,
      isRerun: sql<boolean>`${steps.name} = any(${executions.rerun})`,
    })
    .from(steps)
    .innerJoin(executions, and(eq(executions.runId, steps.runId), eq(executions.n, steps.execution)))
    .where(
      and(
        eq(steps.runId, runId),
        sql`${steps.execution} = (select max(e.n) from executions e where e.run_id = ${runId}::uuid)`,
        sql`(${steps.kind} = 'stage' or ${steps.name} in ('build-environment', 'load-data'))`,
      ),
    )
    .orderBy(asc(steps.position), asc(steps.name));
}

/** Per step the newest run before this one of its project in which it ended well: what one would have reused. */
export async function nearestEarlier(
  db: Queryable,
  run: { projectId: string; number: number },
  names: readonly string[],
): Promise<Map<string, { id: string; label: string }>> {
  if (names.length === 0) return new Map();
  const rows = await db
    .selectDistinctOn([steps.name], {
      step: steps.name,
      id: runs.id,
      label: runLabel,
    })
    .from(runs)
    .innerJoin(projects, eq(projects.id, runs.projectId))
    .innerJoin(steps, eq(steps.runId, runs.id))
    .where(
      and(
        eq(runs.projectId, run.projectId),
        lt(runs.number, run.number),
        inArray(steps.name, [...names]),
        sql`${steps.status} in ('succeeded', 'reused') and ${steps.ingredients} is not null`,
      ),
    )
    .orderBy(asc(steps.name), desc(runs.number));
  return new Map(rows.map(({ step, id, label }) => [step, { id, label }]));
}
