import { pgTable, text, uuid } from 'drizzle-orm/pg-core';
import type { Role } from '#core/role.ts';
import { instant } from './columns.ts';
import { projects } from './projects.ts';

export const tokens = pgTable('tokens', {
  id: uuid('id').primaryKey(),
  /** sha256 of the token in hex; the token itself is never stored. */
  hash: text('hash').notNull().unique(),
  name: text('name').notNull(),
  /** The person or service the token speaks for; shown as the owner of what it creates. */
  owner: text('owner').notNull(),
  role: text('role').$type<Role>().notNull(),
  /** Null reaches every project. */
  projectId: uuid('project_id').references(() => projects.id),
  createdAt: instant('created_at').notNull().defaultNow(),
  expiresAt: instant('expires_at'),
  lastUsedAt: instant('last_used_at'),
  revokedAt: instant('revoked_at'),
});
