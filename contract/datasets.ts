// Datasets: named, append-only series of folder versions; their files are blobs.
import { z } from 'zod';
import { downloadQuery } from './download.ts';
import { instant, page, pageQuery, sha256, whole } from './primitives.ts';
import { defineRoute } from './route.ts';

const filesMax = 100_000;

export const datasetFile = z.object({
  path: z.string().min(1).max(1024),
  sizeBytes: z.number().int().min(0),
  sha256,
});

export const datasetVersion = z
  .object({
    dataset: z.string(),
    version: z.number().int(),
    digest: z.string(),
    files: z.number().int(),
    sizeBytes: z.number().int(),
    committedAt: instant,
    committedBy: z.string(),
  })
  .meta({ id: 'DatasetVersion' });
export type DatasetVersion = z.output<typeof datasetVersion>;

export const dataset = z
  .object({ name: z.string(), createdBy: z.string(), createdAt: instant, latest: datasetVersion.nullable() })
  .meta({ id: 'Dataset' });
export type Dataset = z.output<typeof dataset>;

export const datasetDetail = dataset.extend({ versions: z.array(datasetVersion) }).meta({ id: 'DatasetDetail' });
export type DatasetDetail = z.output<typeof datasetDetail>;

export const addVersionBody = z
  .strictObject({ files: z.array(z.strictObject(datasetFile.shape)).min(1).max(filesMax) })
  .meta({ id: 'AddDatasetVersion' });
export type AddDatasetVersion = z.input<typeof addVersionBody>;

const datasetName = z
  .string()
  .regex(
    /^[a-z0-9][a-z0-9._-]{0,99}$/,
    'expected at most 100 lower-case letters, digits, dots, dashes and underscores',
  );
const byDataset = z.object({ dataset: datasetName });
const byBlob = z.object({ sha256 });

export const datasetRoutes = {
  listDatasets: defineRoute({
    method: 'GET',
    path: '/datasets',
    permission: 'read',
    tag: 'datasets',
    summary: 'List datasets by name',
    query: z.object(pageQuery),
    status: 200,
    answer: page(dataset),
    problems: [],
  }),
  getDataset: defineRoute({
    method: 'GET',
    path: '/datasets/:dataset',
    permission: 'read',
    tag: 'datasets',
    summary: 'Get a dataset with its versions, newest first',
    params: byDataset,
    status: 200,
    answer: datasetDetail,
    problems: ['dataset-not-found'],
  }),
  listDatasetFiles: defineRoute({
    method: 'GET',
    path: '/datasets/:dataset/versions/:version/files',
    permission: 'read',
    tag: 'datasets',
    summary: 'List the files of a version',
    params: byDataset.extend({ version: z.coerce.number().int().min(1).max(2_147_483_647) }),
    status: 200,
    answer: whole(datasetFile),
    problems: ['dataset-not-found'],
  }),
  addDatasetVersion: defineRoute({
    method: 'POST',
    path: '/datasets/:dataset/versions',
    permission: 'data',
    tag: 'datasets',
    summary: 'Add a version from blobs that were sent before',
    description:
      'Files whose blob is missing are refused as blob-missing, each by its path. Equal files make no version.',
    params: byDataset,
    body: addVersionBody,
    status: 201,
    answer: datasetVersion,
    problems: ['blob-missing', 'invalid-request', 'payload-too-large', 'idempotency-conflict'],
    idempotent: true,
  }),
  putBlob: defineRoute({
    method: 'PUT',
    path: '/blobs/:sha256',
    permission: 'data',
    tag: 'blobs',
    summary: 'Send the bytes of a blob; they must hash to its name',
    params: byBlob,
    rawBody: 'application/octet-stream',
    status: 201,
    answer: z.object({ sha256, sizeBytes: z.number().int() }),
    problems: ['blob-corrupt', 'payload-too-large'],
  }),
  getDatasetFile: defineRoute({
    method: 'GET',
    path: '/datasets/:dataset/versions/:version/files/*',
    permission: 'read',
    tag: 'datasets',
    summary: 'Download a file of a version',
    params: byDataset.extend({
      version: z.coerce.number().int().min(1).max(2_147_483_647),
      '*': z.string().min(1).max(4096),
    }),
    query: downloadQuery,
    status: 200,
    rawAnswer: 'application/octet-stream',
    problems: ['dataset-not-found', 'not-found'],
  }),
  listMissingBlobs: defineRoute({
    method: 'POST',
    path: '/blobs/missing',
    permission: 'data',
    tag: 'blobs',
    summary: 'Ask which blobs the server lacks',
    body: z.strictObject({ sha256: z.array(sha256).max(filesMax) }),
    status: 200,
    answer: z.object({ missing: z.array(sha256) }),
    problems: ['payload-too-large'],
  }),
};
