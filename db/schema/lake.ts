import { bigint, bigserial, index, integer, jsonb, pgTable, primaryKey, text, unique, uuid } from 'drizzle-orm/pg-core';
import { blobs } from './blobs.ts';
import { exactInstant, instant } from './columns.ts';

export interface LakeColumn {
  name: string;
  type: string;
}

export const lakeTables = pgTable('lake_tables', {
  name: text('name').primaryKey(),
  columns: jsonb('columns').$type<LakeColumn[]>().notNull(),
  createdBy: text('created_by').notNull(),
  createdAt: instant('created_at').notNull().defaultNow(),
});

/** Append-only; committed_at never goes backwards because appends hold one global lock. */
export const lakeSegments = pgTable(
  'lake_segments',
  {
    seq: bigserial('seq', { mode: 'number' }).primaryKey(),
    tableName: text('table_name')
      .notNull()
      .references(() => lakeTables.name),
    sha256: text('sha256')
      .notNull()
      .references(() => blobs.sha256),
    rows: bigint('rows', { mode: 'number' }).notNull(),
    sizeBytes: bigint('size_bytes', { mode: 'number' }).notNull(),
    columns: jsonb('columns').$type<LakeColumn[]>().notNull(),
    committedAt: exactInstant('committed_at').notNull(),
    committedBy: text('committed_by').notNull(),
    /** A repeated append with the same key is the same segment. */
    appendKey: text('append_key').unique(),
  },
  (t) => [index('lake_segments_by_table').on(t.tableName, t.committedAt)],
);

export const datasets = pgTable('datasets', {
  name: text('name').primaryKey(),
  createdBy: text('created_by').notNull(),
  createdAt: instant('created_at').notNull().defaultNow(),
});

/** Append-only, like segments. */
export const datasetVersions = pgTable(
  'dataset_versions',
  {
    datasetName: text('dataset_name')
      .notNull()
      .references(() => datasets.name),
    version: integer('version').notNull(),
    /** Hash over the sorted list of (path, size, sha256). */
    digest: text('digest').notNull(),
    files: integer('files').notNull(),
    sizeBytes: bigint('size_bytes', { mode: 'number' }).notNull(),
    committedAt: exactInstant('committed_at').notNull(),
    committedBy: text('committed_by').notNull(),
  },
  (t) => [primaryKey({ columns: [t.datasetName, t.version] })],
);

export const datasetFiles = pgTable(
  'dataset_files',
  {
    datasetName: text('dataset_name').notNull(),
    version: integer('version').notNull(),
    path: text('path').notNull(),
    sizeBytes: bigint('size_bytes', { mode: 'number' }).notNull(),
    sha256: text('sha256')
      .notNull()
      .references(() => blobs.sha256),
  },
  (t) => [primaryKey({ columns: [t.datasetName, t.version, t.path] })],
);

/** The materialised result of one query at one as-of; equal key, equal result. */
export const snapshots = pgTable(
  'snapshots',
  {
    id: uuid('id').primaryKey(),
    /** sha256 of query, parameters, segment digests, engine version, and the as-of if the query names it. */
    snapshotKey: text('snapshot_key').notNull().unique(),
    query: text('query').notNull(),
    params: jsonb('params').$type<Record<string, unknown>>().notNull(),
    asOf: exactInstant('as_of').notNull(),
    segments: jsonb('segments').$type<Array<{ table: string; sha256: string }>>().notNull(),
    engine: text('engine').notNull(),
    /** The Parquet file. */
    sha256: text('sha256')
      .notNull()
      .references(() => blobs.sha256),
    sizeBytes: bigint('size_bytes', { mode: 'number' }).notNull(),
    rows: bigint('rows', { mode: 'number' }).notNull(),
    columns: jsonb('columns').$type<LakeColumn[]>().notNull(),
    orderedDigest: text('ordered_digest').notNull(),
    unorderedDigest: text('unordered_digest').notNull(),
    profile: jsonb('profile').$type<unknown>().notNull(),
    createdAt: instant('created_at').notNull().defaultNow(),
  },
  (t) => [unique('snapshots_blob').on(t.snapshotKey, t.sha256)],
);
