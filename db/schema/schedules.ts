import { sql } from 'drizzle-orm';
import {
  boolean,
  check,
  index,
  integer,
  jsonb,
  pgTable,
  primaryKey,
  text,
  uniqueIndex,
  uuid,
} from 'drizzle-orm/pg-core';
import { defaultPriority, type Priority } from '#core/priority.ts';
import type { Overlap, TickOrigin } from '#core/schedule.ts';
import { exactInstant, instant } from './columns.ts';
import { projects } from './projects.ts';
import { runs } from './runs.ts';

/** Runs that recur. Temporal's schedule of the same id mirrors the row and is never asked what is true. */
export const schedules = pgTable(
  'schedules',
  {
    id: uuid('id').primaryKey(),
    projectId: uuid('project_id')
      .notNull()
      .references(() => projects.id),
    name: text('name').notNull(),
    cron: text('cron').notNull(),
    timezone: text('timezone').notNull(),
    /** Branch, tag or commit; null is the project's default branch when it is due. */
    ref: text('ref'),
    overrides: jsonb('overrides').$type<Record<string, unknown>>().notNull().default({}),
    experiment: text('experiment').notNull().default('default'),
    tags: text('tags').array().notNull().default(sql`'{}'::text[]`),
    owner: text('owner').notNull(),
    priority: integer('priority').$type<Priority>().notNull().default(defaultPriority),
    overlap: text('overlap').$type<Overlap>().notNull(),
    catchUpSeconds: integer('catch_up_seconds').notNull(),
    pausedAt: instant('paused_at'),
    pausedBy: text('paused_by'),
    pauseNote: text('pause_note'),
    /** Declared by the project's assay.yaml; else a person made it. */
    isFromFile: boolean('is_from_file').notNull().default(false),
    /** Times before this instant are not due: it was made, resumed or given other times then. */
    activeSince: exactInstant('active_since').notNull().default(sql`clock_timestamp()`),
    /** Grows with every change; the mirror says which one it shows. */
    version: integer('version').notNull().default(1),
    /** Why Temporal does not take the schedule, in its words. */
    trouble: text('trouble'),
    createdBy: text('created_by').notNull(),
    createdAt: instant('created_at').notNull().defaultNow(),
    updatedAt: instant('updated_at').notNull().defaultNow(),
    deletedAt: instant('deleted_at'),
  },
  (t) => [
    uniqueIndex('schedules_name').on(t.projectId, t.name).where(sql`deleted_at is null`),
    uniqueIndex('schedules_from_file').on(t.projectId).where(sql`is_from_file`),
  ],
);

/** What became of each time a schedule was due: a run, or the reason why there is none. */
export const scheduleTicks = pgTable(
  'schedule_ticks',
  {
    scheduleId: uuid('schedule_id')
      .notNull()
      .references(() => schedules.id),
    /** When it was due, however late it came. */
    nominalAt: exactInstant('nominal_at').notNull(),
    origin: text('origin').$type<TickOrigin>().notNull(),
    runId: uuid('run_id').references(() => runs.id),
    skipped: text('skipped'),
    decidedAt: instant('decided_at').notNull().default(sql`clock_timestamp()`),
  },
  (t) => [
    primaryKey({ columns: [t.scheduleId, t.nominalAt] }),
    index('schedule_ticks_by_run').on(t.runId),
    check('schedule_ticks_one_outcome', sql`(run_id is null) <> (skipped is null)`),
  ],
);

/** The commit whose assay.yaml a project's schedule was last read from, so that an older one changes nothing. */
export const scheduleFiles = pgTable('schedule_files', {
  projectId: uuid('project_id')
    .primaryKey()
    .references(() => projects.id),
  branch: text('branch').notNull(),
  commit: text('commit').notNull(),
  committedAt: instant('committed_at').notNull(),
});
