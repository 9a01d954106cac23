// Reading metrics: one summary per key and step, of the attempts that count.
import { and, asc, eq, sql } from 'drizzle-orm';
import { parseMetric, type StageMetric } from '#core/metrics.ts';
import type { Queryable } from './connect.ts';
import { resultRun } from './result-run.ts';
import { metrics, steps } from './schema/steps.ts';

export interface MetricRow extends StageMetric {
  attempt: number;
  source: string;
}

/**
 * In the order of the steps. While a step runs its newest attempt is shown; once it succeeded, the attempt that did; of a
 * reused step, the attempt that made the result in the run it came from.
 */
export async function listMetrics(db: Queryable, runId: string): Promise<MetricRow[]> {
  const rows = await db
    .select({
      key: metrics.key,
      stage: metrics.step,
      attempt: metrics.fence,
      last: metrics.last,
      min: metrics.min,
      max: metrics.max,
      count: metrics.count,
      lastStep: metrics.lastStep,
      source: metrics.source,
    })
    .from(steps)
    .innerJoin(
      metrics,
      and(
        eq(metrics.runId, resultRun),
        eq(metrics.step, steps.name),
        sql`${metrics.fence} = coalesce(${steps.fence}, (select max(n.fence) from metrics n
          where n.run_id = ${steps.runId} and n.step = ${steps.name}))`,
      ),
    )
    .where(
      and(
        eq(steps.runId, runId),
        sql`${steps.execution} = (select max(e.execution) from steps e where e.run_id = ${steps.runId} and e.name = ${steps.name})`,
      ),
    )
    .orderBy(asc(steps.position), asc(metrics.key));
  return rows.map((row) => ({
    ...row,
    last: parseMetric(row.last),
    min: parseMetric(row.min),
    max: parseMetric(row.max),
  }));
}
