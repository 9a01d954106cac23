// What the keys of a run's steps are made of, and why each step ran or was reused.
import { z } from 'zod';
import { stepStatuses } from '#core/run.ts';
import { runRef } from './primitives.ts';
import { defineRoute } from './route.ts';

const stepExplanation = z.object({
  step: z.string(),
  status: z.enum(stepStatuses),
  /** What happened and, if it ran, why no earlier result answered it. */
  sentence: z.string(),
  /** The sha256 that names the step's result; null until the steps before it have ended. */
  stepKey: z.string().nullable(),
  /** In words, one or more lines each. */
  ingredients: z.array(z.object({ part: z.string(), lines: z.array(z.string()) })),
  /** The key's own inputs, as they were hashed. */
  inputs: z.record(z.string(), z.unknown()).nullable(),
  /** Files that the code's digest covers. Only with `files`. */
  files: z.array(z.string()).nullable(),
  /** The run it is compared with: `with`, else the newest earlier one that has this step. Null when there is none. */
  comparedWith: z.string().nullable(),
  /** Null when it is compared with nothing, or the other's step has no key. */
  differences: z.array(z.object({ part: z.string(), name: z.string().nullable(), text: z.string() })).nullable(),
});
export type StepExplanation = z.output<typeof stepExplanation>;

export const runExplanation = z
  .object({ run: z.string(), steps: z.array(stepExplanation) })
  .meta({ id: 'RunExplanation' });
export type RunExplanation = z.output<typeof runExplanation>;

export const explainRoutes = {
  explainRun: defineRoute({
    method: 'GET',
    path: '/runs/:run/explain',
    permission: 'read',
    tag: 'runs',
    summary: 'Say what the keys of the steps are made of, and why each ran or was reused',
    params: z.object({ run: runRef }),
    query: z.object({
      step: z.string().min(1).max(100).optional(),
      /** A run whose steps of the same names these are compared with. */
      with: runRef.optional(),
      files: z.stringbool().default(false),
    }),
    status: 200,
    answer: runExplanation,
    problems: ['not-found'],
  }),
};
