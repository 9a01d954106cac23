// Quotas: what a project or a user may use at once.
import { z } from 'zod';
import { quotaKinds } from '#core/quota.ts';
import { instant, whole } from './primitives.ts';
import { defineRoute } from './route.ts';

const limit = z.number().int().min(0).max(1_000_000).nullable();
/** Null sets no limit. */
const limits = {
  /** Runs under way. */
  runs: limit,
  /** Stages that run or wait for a slot. */
  stages: limit,
  /** Accelerators that those stages ask for. */
  devices: limit,
};
const used = z.object({ runs: z.number().int(), stages: z.number().int(), devices: z.number().int() });

export const quota = z
  .object({
    kind: z.enum(quotaKinds),
    /** `*` is the default of all that have no quota of their own. */
    name: z.string(),
    ...limits,
    /** Null for a default, which is not shared. */
    used: used.nullable(),
    setBy: z.string(),
    setAt: instant,
  })
  .meta({ id: 'Quota' });
export type Quota = z.output<typeof quota>;

const params = z.object({ kind: z.enum(quotaKinds), name: z.string().min(1).max(200) });

export const quotaRoutes = {
  listQuotas: defineRoute({
    method: 'GET',
    path: '/quotas',
    permission: 'operate',
    tag: 'quotas',
    summary: 'List quotas with what is used of them',
    status: 200,
    answer: whole(quota),
    problems: [],
  }),
  setQuota: defineRoute({
    method: 'PUT',
    path: '/quotas/:kind/:name',
    permission: 'capacity',
    tag: 'quotas',
    summary: 'Set what a project or a user may use at once',
    description:
      'The name * is the default of all projects or users that have no quota of their own; a quota of its own takes its place as a whole. What is under way goes on when a limit is lowered.',
    params,
    body: z.strictObject({
      runs: limit.default(null),
      stages: limit.default(null),
      devices: limit.default(null),
    }),
    status: 200,
    answer: quota,
    problems: ['not-found'],
  }),
  removeQuota: defineRoute({
    method: 'DELETE',
    path: '/quotas/:kind/:name',
    permission: 'capacity',
    tag: 'quotas',
    summary: 'Remove a quota; the default holds again',
    params,
    status: 204,
    problems: ['not-found'],
  }),
};
