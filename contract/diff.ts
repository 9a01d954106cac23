// Where two runs differ, by cause, then what came of it.
import { z } from 'zod';
import { gateResults, runStatuses, stepStatuses } from '#core/run.ts';
import { metricValue } from './metrics.ts';
import { instant, runRef, sha256, uuid } from './primitives.ts';
import { defineRoute } from './route.ts';

const what = z.enum(['added', 'removed', 'changed']);

const change = z
  .object({ name: z.string(), what, before: z.unknown(), after: z.unknown() })
  .meta({ id: 'Change', description: 'One value; before is null when it was added, after when it was removed.' });
export type Change = z.output<typeof change>;

const codeFile = z.object({
  path: z.string(),
  what,
  /** Null for files that are not text. */
  linesAdded: z.number().int().nullable(),
  linesRemoved: z.number().int().nullable(),
  /** False for a file that no stage's result depends on, or only through what is listed under another cause. */
  counts: z.boolean(),
});

const fileVersion = z.object({ sha256, sizeBytes: z.number().int() }).nullable();

const datum = z
  .object({
    to: z.string(),
    /** The query's path, or the dataset and its version. */
    source: z.string(),
    digest: z.string(),
    asOf: instant,
    rows: z.number().int().nullable(),
    files: z.number().int().nullable(),
    sizeBytes: z.number().int().nullable(),
  })
  .nullable();

const dataChange = z.object({
  name: z.string(),
  what,
  before: datum,
  after: datum,
  /** What became of the rows, in a few words. */
  summary: z.string(),
  /** The same rows in another order; null where rows are not known. */
  sameRows: z.boolean().nullable(),
  /** Columns by name, their types as values. */
  columns: z.array(change),
  /** Per column that looks different: its statistics. Only with `profile`, and only of queries. */
  profile: z.array(z.object({ column: z.string(), statistics: z.array(change) })).nullable(),
  /** Of datasets. */
  files: z
    .object({
      differing: z.number().int(),
      items: z.array(z.object({ path: z.string(), what, before: fileVersion, after: fileVersion })),
    })
    .nullable(),
});
export type DataChange = z.output<typeof dataChange>;

const metricChange = z.object({
  stage: z.string(),
  key: z.string(),
  what,
  /** The numbers that count, as the project declares it. */
  before: metricValue.nullable(),
  after: metricValue.nullable(),
  delta: z.number().nullable(),
  /** As a part of the earlier value's size. */
  relative: z.number().nullable(),
  goal: z.enum(['max', 'min']).nullable(),
  direction: z.enum(['better', 'worse']).nullable(),
  /** Only the number of points, the minimum or the maximum differs. */
  curveOnly: z.boolean(),
  /** Measures the moment, not the model. */
  timing: z.boolean(),
});
export type MetricChange = z.output<typeof metricChange>;

const artifactChange = z.object({ stage: z.string(), path: z.string(), what, before: fileVersion, after: fileVersion });

const side = z.object({
  id: uuid,
  label: z.string(),
  /** For example `the champion digits version 3`. */
  title: z.string().nullable(),
  status: z.enum(runStatuses),
  commit: z.string().nullable(),
  branch: z.string().nullable(),
  commitMessage: z.string().nullable(),
});

const stepTime = z
  .object({ status: z.enum(stepStatuses), ms: z.number().int().nullable(), reusedFrom: z.string().nullable() })
  .nullable();

export const runDiff = z
  .object({
    before: side,
    after: side,
    /** The shortest true sentence about why they differ and what came of it. */
    sentence: z.string(),
    /** What could not be compared, one sentence each. */
    notes: z.array(z.string()),
    code: z
      .object({
        files: z.array(codeFile),
        filesLeftOut: z.number().int(),
        /** A unified diff, as git prints it. */
        patch: z.string(),
        isPatchCut: z.boolean(),
      })
      .nullable(),
    parameters: z.array(change),
    data: z.array(dataChange),
    packages: z.array(change),
    /** Python, platform, base image. */
    environment: z.array(change),
    seed: change.nullable(),
    stages: z.array(change.extend({ stage: z.string() })),
    hardware: z.array(change.extend({ stages: z.array(z.string()) })),
    gate: z.array(change),
    results: z.object({
      gateResult: z
        .object({ before: z.enum(gateResults).nullable(), after: z.enum(gateResults).nullable() })
        .nullable(),
      metrics: z.object({ differing: z.number().int(), items: z.array(metricChange) }),
      artifacts: z.object({ differing: z.number().int(), items: z.array(artifactChange) }),
    }),
    /** Of steps that at least one side ran; not compared. */
    durations: z.array(z.object({ step: z.string(), before: stepTime, after: stepTime })),
  })
  .meta({ id: 'RunDiff' });
export type RunDiff = z.output<typeof runDiff>;

export const diffRoutes = {
  diffRuns: defineRoute({
    method: 'GET',
    path: '/runs/:run/diff',
    permission: 'read',
    tag: 'runs',
    summary: 'Say where a run differs from another, by cause, and what came of it',
    description: [
      'Reads from `with` to the run: `before` is `with`, `after` is the run. Equal things are left out.',
      '`with=champion` takes the run behind `production` of the first model that the run declares.',
    ].join(' '),
    params: z.object({ run: runRef }),
    query: z.object({
      with: z.union([z.literal('champion'), runRef]).default('champion'),
      /** `short` cuts the patch at 16 KiB, `whole` at 8 MiB. */
      patch: z.enum(['none', 'short', 'whole']).default('short'),
      /** Compares the statistics of every column. */
      profile: z.stringbool().default(false),
      /** Up to 20000 metrics and 10000 files instead of 1000 each; those that the project names come first anyway. */
      all: z.stringbool().default(false),
    }),
    status: 200,
    answer: runDiff,
    problems: ['not-found'],
  }),
};
