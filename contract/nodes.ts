// Nodes: the hosts that run stages.
import { z } from 'zod';
import { instant, whole } from './primitives.ts';
import { defineRoute } from './route.ts';

export const node = z
  .object({
    id: z.string(),
    pool: z.string(),
    host: z.string(),
    slots: z.number().int(),
    slotsUsed: z.number().int(),
    shape: z.object({
      cpus: z.number(),
      memoryGib: z.number(),
      accelerator: z.string().nullable(),
      devices: z.array(z.string()),
    }),
    hardware: z.record(z.string(), z.unknown()),
    startedAt: instant,
    leaseExpiresAt: instant,
    /** False once the lease ran out: the node is taken for dead. */
    alive: z.boolean(),
  })
  .meta({ id: 'Node' });
export type Node = z.output<typeof node>;

export const nodeRoutes = {
  listNodes: defineRoute({
    method: 'GET',
    path: '/nodes',
    permission: 'operate',
    tag: 'nodes',
    summary: 'List stage nodes',
    status: 200,
    answer: whole(node),
    problems: [],
  }),
};
