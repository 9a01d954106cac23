// Pools: nodes of one shape, and what waits for them.
import { z } from 'zod';
import { shape } from './nodes.ts';
import { instant, whole } from './primitives.ts';
import { defineRoute } from './route.ts';

export const pool = z
  .object({
    name: z.string(),
    shape,
    /** Heard of within the last 7 days. */
    nodes: z.number().int(),
    /** Those that take stages now. */
    nodesActive: z.number().int(),
    /** Of the active nodes. */
    slots: z.number().int(),
    slotsUsed: z.number().int(),
    /** Stages that wait for a slot. */
    waiting: z.number().int(),
    oldestWaitingSince: instant.nullable(),
  })
  .meta({ id: 'Pool' });
export type Pool = z.output<typeof pool>;

export const poolRoutes = {
  listPools: defineRoute({
    method: 'GET',
    path: '/pools',
    permission: 'read',
    tag: 'pools',
    summary: 'List pools with their slots and queues, smallest shape first',
    status: 200,
    answer: whole(pool),
    problems: [],
  }),
};
