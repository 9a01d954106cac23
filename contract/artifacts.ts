// Files a run made, and the data it was given. Names are data: the server never opens a path that a client names.
import { z } from 'zod';
import { downloadQuery } from './download.ts';
import { instant, ordinal, runRef, sha256, whole } from './primitives.ts';
import { defineRoute } from './route.ts';

export const artifact = z
  .object({
    path: z.string(),
    step: z.string(),
    attempt: z.number().int(),
    sizeBytes: z.number().int(),
    sha256,
    mediaType: z.string(),
    executable: z.boolean(),
    createdAt: instant,
  })
  .meta({ id: 'Artifact' });
export type Artifact = z.output<typeof artifact>;

export const runDatum = z
  .object({
    name: z.string(),
    /** Where the stages find it. */
    to: z.string(),
    asOf: instant,
    kind: z.enum(['query', 'dataset']),
    snapshot: z.uuid().nullable(),
    dataset: z.string().nullable(),
    datasetVersion: z.number().int().nullable(),
    digest: z.string(),
    facts: z.record(z.string(), z.unknown()),
  })
  .meta({ id: 'RunDatum', description: 'One name under `data:` as the run got it.' });
export type RunDatum = z.output<typeof runDatum>;

const step = z.string().min(1).max(100).optional();

export const artifactRoutes = {
  listArtifacts: defineRoute({
    method: 'GET',
    path: '/runs/:run/artifacts',
    permission: 'read',
    tag: 'artifacts',
    summary: 'List the files of a run',
    description: 'Those of the attempts that count; with `all`, those of every attempt.',
    params: z.object({ run: runRef }),
    query: z.object({ step, all: z.stringbool().default(false) }),
    status: 200,
    answer: whole(artifact),
    problems: ['not-found'],
  }),
  getArtifact: defineRoute({
    method: 'GET',
    path: '/runs/:run/artifacts/*',
    permission: 'read',
    tag: 'artifacts',
    summary: 'Download a file of a run',
    description: 'Understands Range, If-Range and If-None-Match; the ETag is the sha256.',
    params: z.object({ run: runRef, '*': z.string().min(1).max(4096) }),
    query: downloadQuery.extend({ step, attempt: ordinal.optional() }),
    status: 200,
    rawAnswer: 'application/octet-stream',
    problems: ['not-found'],
  }),
  listRunData: defineRoute({
    method: 'GET',
    path: '/runs/:run/data',
    permission: 'read',
    tag: 'artifacts',
    summary: 'List the data a run was given',
    params: z.object({ run: runRef }),
    status: 200,
    answer: whole(runDatum),
    problems: ['not-found'],
  }),
  getRunData: defineRoute({
    method: 'GET',
    path: '/runs/:run/data/:name',
    permission: 'read',
    tag: 'artifacts',
    summary: 'Get the data a run was given',
    description:
      'A query: the rows, as Parquet, CSV or JSON lines. A dataset: the list of its files as JSON; fetch each from its dataset.',
    params: z.object({ run: runRef, name: z.string().min(1).max(200) }),
    query: z.object({ format: z.enum(['parquet', 'csv', 'jsonl']).optional() }),
    status: 200,
    rawAnswer: 'application/octet-stream',
    problems: ['not-found'],
  }),
};
