import { integer, pgTable, primaryKey, text, uuid } from 'drizzle-orm/pg-core';
import { bytea, instant } from './columns.ts';
import { projects } from './projects.ts';

/** The webhook secrets of a project. At most two are valid at once: the newest and, for a while, the one before it. */
export const hookSecrets = pgTable(
  'hook_secrets',
  {
    projectId: uuid('project_id')
      .notNull()
      .references(() => projects.id),
    version: integer('version').notNull(),
    /** Sealed as secrets are; project and version are authenticated. Null once it was erased. */
    sealed: bytea('sealed'),
    createdBy: text('created_by').notNull(),
    createdAt: instant('created_at').notNull().defaultNow(),
    /** Null for the newest. */
    expiresAt: instant('expires_at'),
  },
  (t) => [primaryKey({ columns: [t.projectId, t.version] })],
);
