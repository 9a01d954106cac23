// Runs: submit, look, change what people edit, cancel, resolve.
import { z } from 'zod';
import { parseInitFrom } from '#core/checkpoint.ts';
import { priorities } from '#core/priority.ts';
import { failureClasses, gateResults, runStatuses, stepStatuses } from '#core/run.ts';
import { asOf, gitSha, instant, page, pageQuery, projectRef, runRef, sha256, uuid } from './primitives.ts';
import { defineRoute } from './route.ts';
import { runVerdict } from './verdicts.ts';

export const experiment = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9 ._-]{0,127}$/, 'expected at most 128 letters, digits, spaces, dots and dashes');
const tag = z.string().min(1).max(100);
export const tags = z.array(tag).max(50);
const runName = z.string().min(1).max(200);
const note = z.string().max(20_000);
/** Any JSON by name; names may be dotted paths like `model.depth`. */
const parametersMax = 2000;
export const parameters = z
  .record(z.string().min(1).max(250), z.unknown())
  .refine((given) => Object.keys(given).length <= parametersMax, `expected at most ${parametersMax} parameters`);

export const submitRunBody = z
  .strictObject({
    /** Branch, tag or commit; the project's default branch when neither `ref` nor `commit` is given. */
    ref: z.string().min(1).max(250).optional(),
    /** Full commit id. With it, `ref` only says which branch it was submitted from. */
    commit: gitSha.optional(),
    params: parameters.optional(),
    name: runName.optional(),
    tags: tags.optional(),
    note: note.optional(),
    experiment: experiment.optional(),
    /** The instant data queries look from; the moment of acceptance when absent. The future is refused. */
    asOf: asOf.optional(),
    seed: z.number().int().min(0).max(4_294_967_295).optional(),
    /** A run whose commit, parameters, seed, as-of and command are taken where this body gives none. */
    like: runRef.optional(),
    /** Replaces the project's stages by one that runs this argument vector. */
    command: z.array(z.string().min(1).max(10_000)).min(1).max(1000).optional(),
    /** Uncommitted changes as a patch (base64 of `git diff --binary`); such a run can not be promoted. */
    dirty: z.strictObject({ patch: z.base64().max(8_000_000) }).optional(),
    /** False runs every step again. */
    reuse: z.boolean().optional(),
    /** Stages that run although an equal result is kept. */
    rerun: z.array(z.string().min(1).max(100)).max(64).optional(),
    /** A run whose newest checkpoints a stage starts from: `RUN`, or `RUN:STEP` where several stages have some. */
    initFrom: z
      .string()
      .max(200)
      .refine((text) => {
        const { run, step } = parseInitFrom(text);
        return runRef.safeParse(run).success && step !== '';
      }, 'expected a run and at most a stage, for example digits/42 or digits/42:train')
      .optional(),
    /** 1 is served first, 5 last; 3 when absent. */
    priority: z.literal(priorities).optional(),
  })
  .meta({ id: 'SubmitRun' });
export type SubmitRun = z.input<typeof submitRunBody>;

export const failure = z
  .object({
    class: z.enum(failureClasses),
    sentence: z.string(),
    step: z.string().nullable(),
    logTail: z.array(z.string()),
    exitCode: z.number().int().nullable(),
  })
  .meta({ id: 'Failure', description: 'Why something ended badly, in one plain sentence.' });

/** Mirrors core/trigger.ts. */
export const trigger = z
  .discriminatedUnion('kind', [
    z.object({ kind: z.literal('push'), branch: z.string(), delivery: z.string() }),
    z.object({ kind: z.literal('schedule'), schedule: z.string(), nominalAt: instant }),
  ])
  .meta({ id: 'Trigger', description: 'What started a run that no person submitted.' });

export const runActions = ['cancel', 'resolve', 'resume'] as const;

export const runSummary = z
  .object({
    id: uuid,
    /** `project/number`, accepted wherever the id is. */
    label: z.string(),
    project: z.string(),
    number: z.number().int(),
    experiment: z.string(),
    name: z.string().nullable(),
    tags: z.array(z.string()),
    owner: z.string(),
    priority: z.number().int(),
    status: z.enum(runStatuses),
    /** What an open run waits for, in plain words. */
    waitingReason: z.string().nullable(),
    submittedAt: instant,
    startedAt: instant.nullable(),
    finishedAt: instant.nullable(),
    /** From start to end, or to now while it is open; null before the start. */
    durationMs: z.number().int().nullable(),
    /** What was asked for. */
    ref: z.string(),
    branch: z.string().nullable(),
    commit: z.string().nullable(),
    commitMessage: z.string().nullable(),
    asOf: instant,
    dirty: z.boolean(),
    gateResult: z.enum(gateResults).nullable(),
    failure: failure.nullable(),
    /** Null when a person submitted it. */
    trigger: trigger.nullable(),
    /** How it compares with the run it reproduces, or with its newest reproduction. */
    verdict: runVerdict.nullable(),
    /** What may be done to the run in its present state. */
    actions: z.array(z.enum(runActions)),
  })
  .meta({ id: 'RunSummary' });
export type RunSummary = z.output<typeof runSummary>;

const gpu = z.object({ id: z.string(), uuid: z.string(), name: z.string(), memoryMib: z.number(), driver: z.string() });

/** Mirrors core/hardware.ts; what an older attempt does not have is absent. */
export const hardware = z
  .object({
    host: z.string(),
    os: z.string(),
    arch: z.string(),
    kernel: z.string(),
    libc: z.string(),
    cpuModel: z.string(),
    cpuFlags: z.array(z.string()),
    cpuFlagsDigest: z.string().nullable(),
    microcode: z.string().nullable(),
    physicalCores: z.number().int().nullable(),
    logicalCores: z.number().int(),
    memoryBytes: z.number(),
    gpus: z.array(gpu),
    cuda: z.string().nullable(),
    image: z.string(),
  })
  .partial()
  .meta({ id: 'Hardware', description: 'The machine with the devices of the stage, and what the command ran on.' });

/** Mirrors core/checkpoint.ts. */
export const restoredFrom = z
  .object({
    run: z.string(),
    attempt: z.number().int(),
    set: z.number().int(),
    files: z.number().int(),
    sizeBytes: z.number().int(),
    /** True for the checkpoints that the run was submitted with. */
    initial: z.boolean(),
  })
  .meta({ id: 'RestoredFrom', description: 'The checkpoints that an attempt started with.' });

export const attempt = z
  .object({
    /** The attempt's fence: 1 for the first launch of the step. */
    attempt: z.number().int(),
    execution: z.number().int(),
    status: z.enum(['starting', 'running', 'succeeded', 'failed', 'cancelled', 'lost']),
    node: z.string(),
    pool: z.string(),
    devices: z.array(z.string()),
    createdAt: instant,
    startedAt: instant.nullable(),
    finishedAt: instant.nullable(),
    exitCode: z.number().int().nullable(),
    signal: z.string().nullable(),
    failure: failure.nullable(),
    peakMemoryBytes: z.number().int().nullable(),
    cpuSeconds: z.number().nullable(),
    hardware: hardware.nullable(),
    /** Null when it started with an empty checkpoint directory. */
    restoredFrom: restoredFrom.nullable(),
    /**
     * How it went. `variables` are those that seed the stage and bound its threads, as it got them; `determinism` is what
     * a stage that asks for it was found to have.
     */
    facts: z.record(z.string(), z.unknown()).nullable(),
  })
  .meta({ id: 'Attempt' });
export type Attempt = z.output<typeof attempt>;

export const step = z
  .object({
    name: z.string(),
    kind: z.enum(['platform', 'stage']),
    position: z.number().int(),
    needs: z.array(z.string()),
    status: z.enum(stepStatuses),
    reason: z.string().nullable(),
    /** What a waiting stage waits for, and its place among those that do, about as they will be served. */
    waiting: z
      .object({
        for: z.enum(['quota', 'slot']),
        pool: z.string(),
        since: instant,
        place: z.number().int(),
        of: z.number().int(),
      })
      .nullable(),
    stepKey: z.string().nullable(),
    /** Label of the run whose result answers a reused step; its files, metrics and log are shown as this run's own. */
    reusedFrom: z.string().nullable(),
    /** What the step found: hit or miss, digests, counts. */
    facts: z.record(z.string(), z.unknown()).nullable(),
    failure: failure.nullable(),
    startedAt: instant.nullable(),
    finishedAt: instant.nullable(),
    durationMs: z.number().int().nullable(),
    attempts: z.array(attempt),
  })
  .meta({ id: 'Step' });
export type Step = z.output<typeof step>;

export const execution = z
  .object({
    n: z.number().int(),
    status: z.enum(runStatuses),
    workflowId: z.string(),
    executionId: z.string().nullable(),
    createdAt: instant,
    startedAt: instant.nullable(),
    finishedAt: instant.nullable(),
    /** The execution's page in the Temporal UI. */
    url: z.string().nullable(),
  })
  .meta({ id: 'Execution' });

export const run = runSummary
  .extend({
    note: z.string().nullable(),
    /** Parameters as given at submit. */
    overrides: z.record(z.string(), z.unknown()),
    /** All parameters once the commit was read. */
    params: z.record(z.string(), z.unknown()).nullable(),
    seed: z.number().int().nullable(),
    command: z.array(z.string()).nullable(),
    reuse: z.boolean(),
    like: uuid.nullable(),
    resumedFrom: uuid.nullable(),
    /** The run that this one does again, to be compared with it. */
    reproduces: uuid.nullable(),
    /** Checkpoints of another run that the stage of that name starts from: part of its step key. */
    initFrom: z
      .object({
        run: z.string(),
        step: z.string(),
        attempt: z.number().int(),
        set: z.number().int(),
        digest: sha256,
        files: z.number().int(),
        sizeBytes: z.number().int(),
      })
      .nullable(),
    /** The one stage of it that was to run again; null is the whole run. */
    reproducesOnly: z.string().nullable(),
    tree: z.string().nullable(),
    commitAuthor: z.string().nullable(),
    environmentKey: z.string().nullable(),
    /** The project's configuration at this commit, as Assay read it. */
    config: z.unknown().nullable(),
    gateReport: z.unknown().nullable(),
    manifestSha256: sha256.nullable(),
    statementSha256: sha256.nullable(),
    sourceSha256: sha256.nullable(),
    patchSha256: sha256.nullable(),
    /** Set when the gate failed: nothing is deleted before this instant. */
    deleteAfter: instant.nullable(),
    cancelRequestedAt: instant.nullable(),
    cancelRequestedBy: z.string().nullable(),
    executions: z.array(execution),
    /** The steps of the newest execution, in order. */
    steps: z.array(step),
    /** Model versions this run made. */
    versions: z.array(z.object({ model: z.string(), version: z.number().int(), aliases: z.array(z.string()) })),
  })
  .meta({ id: 'Run' });
export type Run = z.output<typeof run>;

const params = z.object({ run: runRef });

export const runRoutes = {
  submitRun: defineRoute({
    method: 'POST',
    path: '/projects/:project/runs',
    permission: 'run',
    tag: 'runs',
    summary: 'Submit a run',
    description:
      'An accepted submit is exactly one run. It works while Temporal is down. The same Idempotency-Key with the same body answers with the same run.',
    params: z.object({ project: projectRef }),
    body: submitRunBody,
    status: 201,
    answer: runSummary,
    problems: [
      'not-found',
      'invalid-reference',
      'commit-not-found',
      'invalid-project-file',
      'invalid-parameters',
      'no-entry-point',
      'secret-missing',
      'pool-missing',
      'environment-unsupported',
      'as-of-in-future',
      'checkpoint-missing',
      'idempotency-conflict',
      'payload-too-large',
    ],
    idempotent: true,
  }),
  listRuns: defineRoute({
    method: 'GET',
    path: '/runs',
    permission: 'read',
    tag: 'runs',
    summary: 'Search runs',
    description: [
      'Filter: comparisons joined by `and`. Left side: `attributes.NAME` (id, number, project, experiment, name, status, owner,',
      'branch, commit, ref, gateResult, submittedAt, startedAt, finishedAt, durationMs), `params.NAME`, `metrics.NAME` or `tag`;',
      'a name with other characters goes between backquotes. Operators: = != < <= > >= like ilike, in (…), is null, is not null.',
      "Right side: a number or a 'quoted' text. Example: metrics.accuracy > 0.9 and params.lr = '0.1' and tag = 'nightly'.",
      'Sort: one attribute, `metrics.NAME` or `params.NAME`, followed by asc or desc; `submittedAt desc` when absent.',
    ].join(' '),
    query: z.object({
      project: projectRef.optional(),
      experiment: experiment.optional(),
      /** One status, or several separated by commas. */
      status: z.string().max(200).optional(),
      owner: z.string().max(200).optional(),
      tag: tag.optional(),
      filter: z.string().max(4000).optional(),
      sort: z.string().max(300).optional(),
      ...pageQuery,
    }),
    status: 200,
    answer: page(runSummary),
    problems: ['invalid-request', 'not-found'],
  }),
  getRun: defineRoute({
    method: 'GET',
    path: '/runs/:run',
    permission: 'read',
    tag: 'runs',
    summary: 'Get a run with its steps, attempts, timings and reasons',
    params,
    status: 200,
    answer: run,
    problems: ['not-found'],
  }),
  changeRun: defineRoute({
    method: 'PATCH',
    path: '/runs/:run',
    permission: 'run',
    tag: 'runs',
    summary: 'Change the name, note or tags of a run',
    params,
    body: z.strictObject({
      name: runName.nullable().optional(),
      note: note.nullable().optional(),
      tags: tags.optional(),
    }),
    status: 200,
    answer: runSummary,
    problems: ['not-found'],
  }),
  cancelRun: defineRoute({
    method: 'POST',
    path: '/runs/:run/cancel',
    permission: 'run',
    tag: 'runs',
    summary: 'Ask a run to stop',
    description: 'A run that no one has started yet is cancelled at once; else its stages are stopped within seconds.',
    params,
    status: 202,
    answer: runSummary,
    problems: ['not-found', 'run-finished'],
  }),
  resolveRun: defineRoute({
    method: 'POST',
    path: '/runs/:run/resolve',
    permission: 'run',
    tag: 'runs',
    summary: 'Answer a run that needs attention',
    params,
    body: z.strictObject({ action: z.enum(['retry', 'abort']) }),
    status: 202,
    answer: runSummary,
    problems: ['not-found', 'conflict'],
  }),
  watchRun: defineRoute({
    method: 'GET',
    path: '/runs/:run/events',
    permission: 'read',
    tag: 'runs',
    summary: 'Follow the status of a run and its steps (server-sent events)',
    description:
      'Events `run` (a RunSummary) and `step` (a Step), each when it changes, then `end`. Last-Event-ID leaves out what was seen.',
    params,
    status: 200,
    rawAnswer: 'text/event-stream',
    problems: ['not-found'],
  }),
  getRunManifest: defineRoute({
    method: 'GET',
    path: '/runs/:run/manifest',
    permission: 'read',
    tag: 'runs',
    summary: 'Get the manifest: everything that pins the run',
    params,
    status: 200,
    rawAnswer: 'application/json',
    problems: ['not-found'],
  }),
  getRunLock: defineRoute({
    method: 'GET',
    path: '/runs/:run/lock',
    permission: 'read',
    tag: 'runs',
    summary: 'Get the hashed requirement list of the environment',
    params,
    status: 200,
    rawAnswer: 'text/plain',
    problems: ['not-found'],
  }),
  getRunSource: defineRoute({
    method: 'GET',
    path: '/runs/:run/source',
    permission: 'read',
    tag: 'runs',
    summary: 'Get the tree of the commit as a tar archive',
    params,
    status: 200,
    rawAnswer: 'application/x-tar',
    problems: ['not-found'],
  }),
  getRunPatch: defineRoute({
    method: 'GET',
    path: '/runs/:run/patch',
    permission: 'read',
    tag: 'runs',
    summary: 'Get the uncommitted changes the run was submitted with',
    params,
    status: 200,
    rawAnswer: 'text/x-diff',
    problems: ['not-found'],
  }),
};
