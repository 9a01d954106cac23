// Reading metrics: one summary per key and step, of the attempts that count.
import { and, asc, eq, sql } from 'drizzle-orm';
import { parseMetric, type StageMetric } from '#core/metrics.ts';
import type { Queryable } from './connect.ts';
import { metrics, steps } from './schema/steps.ts';

export interface MetricRow extends StageMetric {
  attempt: number;
  source: string;
}

/**
 * In the order of the steps. While a step runs its newest attempt is shown; once it succeeded, the attempt that did.
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
    .from(metrics)
    .innerJoin(
      steps,
      and(
        eq(steps.runId, metrics.runId),
        eq(steps.name, metrics.step),
        sql`${steps.execution} = (select max(e.execution) from steps e where e.run_id = ${metrics.runId} and e.name = ${metrics.step})`,
      ),
    )
    .where(
      and(
        eq(metrics.runId, runId),
        sql`${metrics.fence} = coalesce(${steps.fence}, (select max(n.fence) from metrics n
          where n.run_id = ${metrics.runId} and n.step = ${metrics.step}))`,
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
