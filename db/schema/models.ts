import { sql } from 'drizzle-orm';
import { bigserial, index, integer, jsonb, pgTable, primaryKey, text, unique, uuid } from 'drizzle-orm/pg-core';
import { blobs } from './blobs.ts';
import { instant } from './columns.ts';
import { projects } from './projects.ts';
import { runs } from './runs.ts';

export const models = pgTable(
  'models',
  {
    id: uuid('id').primaryKey(),
    projectId: uuid('project_id')
      .notNull()
      .references(() => projects.id),
    name: text('name').notNull().unique(),
    nextVersion: integer('next_version').notNull().default(1),
    createdAt: instant('created_at').notNull().defaultNow(),
  },
  (t) => [index('models_by_project').on(t.projectId)],
);

/** Created when a run's gate passes or it has none; a failed run has no version. */
export const versions = pgTable(
  'versions',
  {
    modelId: uuid('model_id')
      .notNull()
      .references(() => models.id),
    number: integer('number').notNull(),
    runId: uuid('run_id')
      .notNull()
      .references(() => runs.id),
    createdAt: instant('created_at').notNull().defaultNow(),
  },
  (t) => [primaryKey({ columns: [t.modelId, t.number] }), unique('versions_run').on(t.modelId, t.runId)],
);

/** Where an alias points now; `production` points at the champion. Moved only by a promotion. */
export const aliases = pgTable(
  'aliases',
  {
    modelId: uuid('model_id')
      .notNull()
      .references(() => models.id),
    alias: text('alias').notNull(),
    version: integer('version').notNull(),
    movedAt: instant('moved_at').notNull().defaultNow(),
  },
  (t) => [primaryKey({ columns: [t.modelId, t.alias] })],
);

/** Append-only; UPDATE, DELETE and TRUNCATE are refused by the database. */
export const promotions = pgTable(
  'promotions',
  {
    id: bigserial('id', { mode: 'number' }).primaryKey(),
    modelId: uuid('model_id')
      .notNull()
      .references(() => models.id),
    alias: text('alias').notNull(),
    version: integer('version').notNull(),
    previousVersion: integer('previous_version'),
    runId: uuid('run_id')
      .notNull()
      .references(() => runs.id),
    by: text('by').notNull(),
    reason: text('reason'),
    /** The gate's report at the moment of promotion. */
    evidence: jsonb('evidence').$type<unknown>().notNull(),
    at: instant('at').notNull().default(sql`clock_timestamp()`),
  },
  (t) => [index('promotions_by_model').on(t.modelId, t.id)],
);

/** What promotion keeps: a pinned blob or run can not be deleted while the row stands. */
export const pins = pgTable(
  'pins',
  {
    modelId: uuid('model_id')
      .notNull()
      .references(() => models.id),
    version: integer('version').notNull(),
    sha256: text('sha256')
      .notNull()
      .references(() => blobs.sha256),
    what: text('what').notNull(),
  },
  (t) => [primaryKey({ columns: [t.modelId, t.version, t.sha256, t.what] })],
);
