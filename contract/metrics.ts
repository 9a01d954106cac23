// The numbers a run reported, one summary per key and step.
import { z } from 'zod';
import { runRef, whole } from './primitives.ts';
import { defineRoute } from './route.ts';

/** JSON has no NaN and no infinities: those are the texts NaN, Infinity and -Infinity. */
export const metricValue = z.union([z.number(), z.enum(['NaN', 'Infinity', '-Infinity'])]);

export const metric = z
  .object({
    key: z.string(),
    step: z.string(),
    attempt: z.number().int(),
    last: metricValue,
    min: metricValue,
    max: metricValue,
    count: z.number().int(),
    lastStep: z.number().int().nullable(),
    source: z.string(),
  })
  .meta({ id: 'Metric' });
export type Metric = z.output<typeof metric>;

export const metricRoutes = {
  listMetrics: defineRoute({
    method: 'GET',
    path: '/runs/:run/metrics',
    permission: 'read',
    tag: 'metrics',
    summary: 'List the metrics of a run',
    params: z.object({ run: runRef }),
    status: 200,
    answer: whole(metric),
    problems: ['not-found'],
  }),
};
