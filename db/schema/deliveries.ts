import { sql } from 'drizzle-orm';
import { check, index, integer, jsonb, pgTable, text, unique, uniqueIndex, uuid } from 'drizzle-orm/pg-core';
import type { DeliveryOutcome, DeliverySource } from '#core/push.ts';
import { instant } from './columns.ts';
import { projects } from './projects.ts';
import { runs } from './runs.ts';

/** What was announced about a project's remote, once per announcement, and what became of it. */
export const deliveries = pgTable(
  'deliveries',
  {
    /** UUIDv7, so that ids sort by arrival. */
    id: uuid('id').primaryKey(),
    projectId: uuid('project_id')
      .notNull()
      .references(() => projects.id),
    source: text('source').$type<DeliverySource>().notNull(),
    /** The host's own id, equal when it sends the same again. */
    deliveryId: text('delivery_id').notNull(),
    /** Null for a ping. */
    ref: text('ref'),
    branch: text('branch'),
    before: text('before'),
    commit: text('commit'),
    outcome: text('outcome').$type<DeliveryOutcome>().notNull(),
    /** One sentence; set exactly when it is ignored. */
    reason: text('reason'),
    runId: uuid('run_id').references(() => runs.id),
    attempts: integer('attempts').notNull().default(0),
    nextAttemptAt: instant('next_attempt_at').notNull().defaultNow(),
    /** Why the last attempt to read the commit failed. */
    failure: text('failure'),
    receivedAt: instant('received_at').notNull().defaultNow(),
    settledAt: instant('settled_at'),
  },
  (t) => [
    unique('deliveries_once').on(t.projectId, t.source, t.deliveryId),
    uniqueIndex('deliveries_one_run').on(t.projectId, t.branch, t.commit).where(sql`run_id is not null`),
    index('deliveries_due').on(t.projectId, t.nextAttemptAt).where(sql`outcome = 'accepted'`),
    index('deliveries_by_project').on(t.projectId, t.id),
    index('deliveries_by_commit').on(t.projectId, t.branch, t.commit),
    check('deliveries_run', sql`(outcome = 'run') = (run_id is not null)`),
    check('deliveries_reason', sql`(outcome = 'ignored') = (reason is not null)`),
  ],
);

/** The last look at a project's remote. */
export const remotePolls = pgTable('remote_polls', {
  projectId: uuid('project_id')
    .primaryKey()
    .references(() => projects.id),
  /** Branch → commit as last seen; null before the first answer. */
  heads: jsonb('heads').$type<Record<string, string>>(),
  nextAt: instant('next_at').notNull().defaultNow(),
  polledAt: instant('polled_at'),
  /** Looks in a row that failed, and why the last one did. */
  failures: integer('failures').notNull().default(0),
  failure: text('failure'),
});
