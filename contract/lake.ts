// The lake's tables: append-only, queried as of an instant.
import { z } from 'zod';
import { asOf, instant, page, pageQuery, sha256, tableName, uuid } from './primitives.ts';
import { defineRoute } from './route.ts';

const column = z.object({ name: z.string(), type: z.string() });
const format = z.enum(['csv', 'jsonl', 'parquet']);

export const segment = z
  .object({
    /** Which commit of its table it is, from 1. */
    seq: z.number().int(),
    sha256,
    rows: z.number().int(),
    sizeBytes: z.number().int(),
    committedAt: instant,
    committedBy: z.string(),
  })
  .meta({ id: 'Segment' });
export type Segment = z.output<typeof segment>;

export const lakeTable = z
  .object({
    name: z.string(),
    columns: z.array(column),
    rows: z.number().int(),
    sizeBytes: z.number().int(),
    segments: z.number().int(),
    createdBy: z.string(),
    createdAt: instant,
    lastCommitAt: instant.nullable(),
  })
  .meta({ id: 'LakeTable' });
export type LakeTable = z.output<typeof lakeTable>;

export const lakeTableDetail = lakeTable.extend({ commits: z.array(segment) }).meta({ id: 'LakeTableDetail' });
export type LakeTableDetail = z.output<typeof lakeTableDetail>;

export const appendResult = segment
  .extend({
    table: z.string(),
    /** The append made the table. */
    created: z.boolean(),
    /** The same Idempotency-Key and rows came before: nothing was added. */
    repeated: z.boolean(),
    newColumns: z.array(column),
  })
  .meta({ id: 'Append' });
export type AppendResult = z.output<typeof appendResult>;

export const rows = z
  .object({
    columns: z.array(column),
    rows: z.array(z.record(z.string(), z.unknown())),
    rowsTotal: z.number().int(),
    asOf: instant,
  })
  .meta({ id: 'Rows' });
export type Rows = z.output<typeof rows>;

export const queryBody = z
  .strictObject({
    query: z.string().min(1).max(100_000),
    asOf: asOf.optional(),
    params: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()])).default({}),
  })
  .meta({ id: 'LakeQuery' });
export type LakeQuery = z.input<typeof queryBody>;

export const snapshot = z
  .object({
    id: uuid,
    query: z.string(),
    params: z.record(z.string(), z.unknown()),
    asOf: instant,
    rows: z.number().int(),
    sizeBytes: z.number().int(),
    sha256,
    columns: z.array(column),
    orderedDigest: z.string(),
    unorderedDigest: z.string(),
    /** One entry per column: type, minimum, maximum, nulls and so on. */
    profile: z.unknown(),
    engine: z.string(),
    segments: z.array(z.object({ table: z.string(), sha256: z.string() })),
    createdAt: instant,
  })
  .meta({ id: 'Snapshot' });
export type Snapshot = z.output<typeof snapshot>;

const params = z.object({ table: tableName });

export const lakeRoutes = {
  listTables: defineRoute({
    method: 'GET',
    path: '/lake/tables',
    permission: 'read',
    tag: 'lake',
    summary: 'List tables by name',
    query: z.object(pageQuery),
    status: 200,
    answer: page(lakeTable),
    problems: [],
  }),
  getTable: defineRoute({
    method: 'GET',
    path: '/lake/tables/:table',
    permission: 'read',
    tag: 'lake',
    summary: 'Get a table: columns, totals and its newest 100 commits',
    params,
    status: 200,
    answer: lakeTableDetail,
    problems: ['table-not-found'],
  }),
  appendSegment: defineRoute({
    method: 'POST',
    path: '/lake/tables/:table/segments',
    permission: 'data',
    tag: 'lake',
    summary: 'Append rows; the first append makes the table',
    params,
    query: z.object({ format }),
    rawBody: 'application/octet-stream',
    status: 201,
    answer: appendResult,
    problems: ['invalid-request', 'schema-drift', 'payload-too-large', 'idempotency-conflict'],
    idempotent: true,
  }),
  previewTable: defineRoute({
    method: 'GET',
    path: '/lake/tables/:table/preview',
    permission: 'read',
    tag: 'lake',
    summary: 'Look at a few rows',
    params,
    query: z.object({ limit: z.coerce.number().int().min(1).max(1000).default(20), asOf: asOf.optional() }),
    status: 200,
    answer: rows,
    problems: ['table-not-found', 'as-of-in-future'],
  }),
  query: defineRoute({
    method: 'POST',
    path: '/lake/queries',
    permission: 'read',
    tag: 'lake',
    summary: 'Run an as-of query and keep its result as a snapshot',
    body: queryBody,
    status: 200,
    answer: snapshot,
    problems: ['query-refused', 'query-limit', 'table-not-found', 'as-of-in-future'],
  }),
  checkQuery: defineRoute({
    method: 'POST',
    path: '/lake/queries/check',
    permission: 'read',
    tag: 'lake',
    summary: 'Say whether a query would be accepted, without running it',
    body: z.strictObject({ query: z.string().min(1).max(100_000) }).meta({ id: 'CheckLakeQuery' }),
    status: 200,
    answer: z.object({
      tables: z.array(z.string()),
      /** Parameters the query needs beside `$as_of`. */
      parameters: z.array(z.string()),
      usesAsOf: z.boolean(),
      /** Tables the lake does not have yet. */
      missingTables: z.array(z.string()),
    }),
    problems: ['query-refused', 'query-limit'],
  }),
  getSnapshot: defineRoute({
    method: 'GET',
    path: '/lake/snapshots/:id',
    permission: 'read',
    tag: 'lake',
    summary: 'Get a snapshot',
    params: z.object({ id: uuid }),
    status: 200,
    answer: snapshot,
    problems: ['not-found'],
  }),
  getSnapshotContent: defineRoute({
    method: 'GET',
    path: '/lake/snapshots/:id/content',
    permission: 'read',
    tag: 'lake',
    summary: 'Download the rows of a snapshot',
    params: z.object({ id: uuid }),
    query: z.object({ format: format.default('parquet') }),
    status: 200,
    rawAnswer: 'application/octet-stream',
    problems: ['not-found'],
  }),
};
