import { integer, pgTable, text, uuid } from 'drizzle-orm/pg-core';
import type { HostKind } from '#core/push.ts';
import { instant } from './columns.ts';

export const projects = pgTable('projects', {
  id: uuid('id').primaryKey(),
  name: text('name').notNull().unique(),
  /** https or ssh; null means that code arrives only as bundles. */
  remoteUrl: text('remote_url'),
  defaultBranch: text('default_branch').notNull().default('main'),
  /** The number the next run gets; taken under the row's lock. */
  nextRunNumber: integer('next_run_number').notNull().default(1),
  /** How often the remote is asked for new heads; 0 is never, null leaves it to the default. */
  pollSeconds: integer('poll_seconds'),
  /** Which API the remote's host speaks, where its name does not say so. */
  hostKind: text('host_kind').$type<HostKind>(),
  createdBy: text('created_by').notNull(),
  createdAt: instant('created_at').notNull().defaultNow(),
});
