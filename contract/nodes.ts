// Nodes: the hosts that run stages.
import { z } from 'zod';
import { nodeStates } from '#core/node-state.ts';
import { instant, whole } from './primitives.ts';
import { defineRoute } from './route.ts';

/** What one slot offers. */
export const shape = z
  .object({
    cpus: z.number(),
    memoryGib: z.number(),
    accelerator: z.string().nullable(),
    /** How many accelerators. */
    devices: z.number().int(),
  })
  .meta({ id: 'Shape' });

export const node = z
  .object({
    id: z.string(),
    pool: z.string(),
    host: z.string(),
    slots: z.number().int(),
    slotsUsed: z.number().int(),
    shape,
    /** Ids of the accelerators that its slots hand out. */
    devices: z.array(z.string()),
    hardware: z.record(z.string(), z.unknown()),
    startedAt: instant,
    leaseExpiresAt: instant,
    /** False once the lease ran out: the node is taken for dead. */
    alive: z.boolean(),
    /** Only an active node takes stages; a person drains one, Assay puts one aside that fails launch after launch. */
    state: z.enum(nodeStates),
    stateReason: z.string().nullable(),
    stateBy: z.string().nullable(),
    stateSince: instant,
    /** Whether the draining node stops the stages it has, too. */
    stopsStages: z.boolean(),
  })
  .meta({ id: 'Node' });
export type Node = z.output<typeof node>;

const params = z.object({ node: z.string().min(1).max(100) });

export const nodeRoutes = {
  listNodes: defineRoute({
    method: 'GET',
    path: '/nodes',
    permission: 'operate',
    tag: 'nodes',
    summary: 'List stage nodes',
    description: 'Those heard of within the last 7 days; all=true lists every node there ever was.',
    query: z.object({ all: z.enum(['true', 'false']).default('false') }),
    status: 200,
    answer: whole(node),
    problems: [],
  }),
  drainNode: defineRoute({
    method: 'POST',
    path: '/nodes/:node/drain',
    permission: 'capacity',
    tag: 'nodes',
    summary: 'Let a node take no new stages',
    description:
      'Within seconds. Its stages go on to their end; with now they get SIGTERM and their grace, and start elsewhere at no cost of a retry. It lasts over restarts of the node until it is resumed.',
    params,
    body: z.strictObject({ now: z.boolean().default(false), reason: z.string().min(1).max(500).optional() }),
    status: 200,
    answer: node,
    problems: ['not-found'],
  }),
  resumeNode: defineRoute({
    method: 'POST',
    path: '/nodes/:node/resume',
    permission: 'capacity',
    tag: 'nodes',
    summary: 'Let a node that was drained or put aside take stages again',
    params,
    status: 200,
    answer: node,
    problems: ['not-found'],
  }),
};
