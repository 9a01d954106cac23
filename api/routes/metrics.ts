import type { FastifyInstance } from 'fastify';
import { routes } from '#contract/routes.ts';
import type { Metric } from '#contract/metrics.ts';
import type { Access } from '#api/access.ts';
import type { ApiDeps } from '#api/deps.ts';
import { serve } from '#api/serve.ts';
import { listMetrics } from '#db/metrics.ts';

export function metricRoutes(app: FastifyInstance, { connection: { db } }: ApiDeps, access: Access): void {
  serve(app, routes.listMetrics, async ({ principal, params }) => {
    const rows = await listMetrics(db, await access.run(principal, params.run));
    const items = rows.map(({ stage, last, min, max, ...row }) => {
      return { ...row, step: stage, last: spelled(last), min: spelled(min), max: spelled(max) };
    });
    return { items };
  });
}

/** JSON has no NaN and no infinities. */
export function spelled(value: number): Metric['last'] {
  return Number.isFinite(value) ? value : (String(value) as Metric['last']);
}
