import { sql } from 'drizzle-orm';
import { index, integer, pgTable, text, uuid } from 'drizzle-orm/pg-core';
import { instant } from './columns.ts';
import { runs } from './runs.ts';

/**
 * What a git host is to be told about a run. A trigger on runs raises `wanted` in the transaction that changes the
 * status; whoever told the host the state at that moment sets `sent` to it.
 */
export const commitStatuses = pgTable(
  'commit_statuses',
  {
    runId: uuid('run_id')
      .primaryKey()
      .references(() => runs.id),
    wanted: integer('wanted').notNull().default(1),
    sent: integer('sent').notNull().default(0),
    /** The state and sentence that the host has. */
    shown: text('shown'),
    attempts: integer('attempts').notNull().default(0),
    nextAttemptAt: instant('next_attempt_at').notNull().defaultNow(),
    /** Somebody is sending until then, so that an older state never overtakes a newer one. */
    leaseExpiresAt: instant('lease_expires_at'),
    failure: text('failure'),
  },
  (t) => [index('commit_statuses_due').on(t.nextAttemptAt).where(sql`wanted > sent`)],
);
