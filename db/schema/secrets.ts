import { integer, pgTable, primaryKey, text, uuid } from 'drizzle-orm/pg-core';
import { bytea, instant } from './columns.ts';
import { projects } from './projects.ts';

/** Encrypted at rest. A new value is a new version; runs remember the version, never the value. */
export const secrets = pgTable(
  'secrets',
  {
    projectId: uuid('project_id')
      .notNull()
      .references(() => projects.id),
    name: text('name').notNull(),
    version: integer('version').notNull(),
    /** AES-256-GCM: 12-byte nonce, ciphertext, 16-byte tag; project, name and version are authenticated. */
    sealed: bytea('sealed'),
    createdBy: text('created_by').notNull(),
    createdAt: instant('created_at').notNull().defaultNow(),
    deletedAt: instant('deleted_at'),
  },
  (t) => [primaryKey({ columns: [t.projectId, t.name, t.version] })],
);
