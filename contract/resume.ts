// A closed run goes on, with a plan first: what is reused, what will run, and why.
import { z } from 'zod';
import { gitSha, runRef } from './primitives.ts';
import { defineRoute } from './route.ts';
import { parameters, runSummary } from './runs.ts';

const plannedStep = z
  .object({
    name: z.string(),
    kind: z.enum(['platform', 'stage']),
    action: z.enum(['reuse', 'run']),
    /** Label of the run whose result answers the step. */
    reusedFrom: z.string().nullable(),
    /** Why it will run, as clauses. */
    because: z.array(z.string()),
    /** What would have to come about for it to be reused all the same. */
    unless: z.array(z.string()),
    /** All of that in one sentence. */
    sentence: z.string(),
  })
  .meta({ id: 'PlannedStep' });
export type PlannedStepView = z.output<typeof plannedStep>;

export const resumePlan = z
  .object({
    /** Label of the run that is resumed. */
    run: z.string(),
    /** `execution` of the same run, or another `run` because a commit or a parameter is not the same. */
    as: z.enum(['execution', 'run']),
    commit: gitSha.nullable(),
    /** Steps whose results can be reused, in order; persist, gate and promote always run. */
    steps: z.array(plannedStep),
  })
  .meta({ id: 'ResumePlan' });
export type ResumePlan = z.output<typeof resumePlan>;

export const resumeBody = z
  .strictObject({
    /** Full commit id. With it, `ref` only says which branch it is of. */
    commit: gitSha.optional(),
    /** Branch, tag or commit. */
    ref: z.string().min(1).max(250).optional(),
    /** On top of those the run was submitted with. */
    params: parameters.optional(),
    /** This stage and all that need it run although equal results are kept. */
    from: z.string().min(1).max(100).optional(),
    /** True answers the plan and changes nothing. */
    plan: z.boolean().optional(),
  })
  .meta({ id: 'ResumeRun' });
export type ResumeRun = z.input<typeof resumeBody>;

export const resumeRoutes = {
  resumeRun: defineRoute({
    method: 'POST',
    path: '/runs/:run/resume',
    permission: 'run',
    tag: 'runs',
    summary: 'Let a closed run go on, reusing every step that would be the same',
    description: [
      'Unchanged, a failed or cancelled run goes on in a new execution. With another commit or parameter, and for a run that',
      'succeeded, a new run takes it up (resumedFrom) with its as-of, seed and lock. A step is reused only when everything that',
      'can change its result is the same. The same Idempotency-Key with the same body is answered with the same run and no plan.',
    ].join(' '),
    params: z.object({ run: runRef }),
    body: resumeBody,
    status: 200,
    answer: z.object({
      /** Null when the request is repeated. */
      plan: resumePlan.nullable(),
      /** The run that goes on; null when only the plan was asked for. */
      run: runSummary.nullable(),
    }),
    problems: [
      'not-found',
      'run-not-finished',
      'conflict',
      'invalid-reference',
      'commit-not-found',
      'invalid-remote',
      'source-refused',
      'source-too-large',
      'invalid-project-file',
      'invalid-parameters',
      'no-entry-point',
      'secret-missing',
      'pool-missing',
      'environment-unsupported',
      'network-not-enforceable',
      'query-refused',
      'query-limit',
      'table-not-found',
      'dataset-not-found',
      'data-gone',
      'idempotency-conflict',
    ],
    idempotent: true,
  }),
};
