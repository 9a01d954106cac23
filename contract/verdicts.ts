// How a reproduction compares with its original: in short on every run, in full on its own.
import { z } from 'zod';
import { grades, layers, verdictWords } from '#core/verdict.ts';
import { instant, runRef } from './primitives.ts';
import { defineRoute } from './route.ts';

/** Mirrors core/verdict.ts. */
export const verdictReport = z
  .object({
    verdict: z.enum(verdictWords),
    grade: z.enum(grades),
    sentence: z.string(),
    /** The first layer that differs, in the order of cause and effect. */
    firstDifference: z.enum(layers).nullable(),
    layers: z.array(
      z.object({
        layer: z.enum(layers),
        /** `listed` is shown and not judged; `absent` means that neither run has it. */
        result: z.enum(['equal', 'within-tolerance', 'different', 'listed', 'absent']),
        sentence: z.string(),
        differences: z.array(z.string()),
      }),
    ),
    /** What was left out of the comparison, and why. */
    notes: z.array(z.string()),
  })
  .meta({ id: 'VerdictReport' });

export const runVerdict = z
  .object({
    verdict: z.enum(verdictWords),
    grade: z.enum(grades),
    sentence: z.string(),
    firstDifference: z.enum(layers).nullable(),
    /** Whether this run is the original or the one that was to reproduce it. */
    as: z.enum(['original', 'reproduction']),
    /** Label of the other run. */
    other: z.string(),
  })
  .meta({
    id: 'RunVerdict',
    description: "The run's own verdict if it reproduces another, else that of its newest reproduction that has one.",
  });
export type RunVerdict = z.output<typeof runVerdict>;

export const verdict = z
  .object({
    /** Label of the reproduction. */
    run: z.string(),
    original: z.string(),
    report: verdictReport,
    createdAt: instant,
  })
  .meta({ id: 'Verdict' });
export type Verdict = z.output<typeof verdict>;

export const verdictRoutes = {
  listVerdicts: defineRoute({
    method: 'GET',
    path: '/runs/:run/verdicts',
    permission: 'read',
    tag: 'runs',
    summary: 'List the verdicts on a run, as a reproduction and on its reproductions, newest first',
    params: z.object({ run: runRef }),
    status: 200,
    answer: z.object({ items: z.array(verdict) }),
    problems: ['not-found'],
  }),
};
