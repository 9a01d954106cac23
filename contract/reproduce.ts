// A run again, pinned to everything an earlier one was made from.
import { z } from 'zod';
import { priorities } from '#core/priority.ts';
import { runRef } from './primitives.ts';
import { defineRoute } from './route.ts';
import { runSummary } from './runs.ts';

export const reproduceRoutes = {
  reproduceRun: defineRoute({
    method: 'POST',
    path: '/runs/:run/reproduce',
    permission: 'run',
    tag: 'runs',
    summary: 'Do a run again from the same inputs, to be compared with it',
    description: [
      'The new run has the commit, parameters, seed, as-of, snapshots and lock of the original, takes no result of',
      'another run and makes no model version. It ends with a verdict, which is shown on both runs. With `only` that one',
      'stage runs, on the results that the original has of the stages it needs, and there is no verdict. What is missing',
      'is refused at once, each fact by its name.',
    ].join(' '),
    params: z.object({ run: runRef }),
    body: z.strictObject({
      /** A stage: only this one runs again. */
      only: z.string().min(1).max(100).optional(),
      /** 1 is served first, 5 last; 3 when absent. */
      priority: z.literal(priorities).optional(),
    }),
    status: 201,
    answer: runSummary,
    problems: ['not-found', 'not-reproducible', 'invalid-request', 'idempotency-conflict'],
    idempotent: true,
  }),
};
