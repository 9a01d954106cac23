import { jsonb, pgTable, text } from 'drizzle-orm/pg-core';
import { blobs } from './blobs.ts';
import { instant } from './columns.ts';

/** A lock is resolved once per (requirement text, Python, platform, index) and kept until someone asks to upgrade. */
export const locks = pgTable('locks', {
  lockKey: text('lock_key').primaryKey(),
  lockSha256: text('lock_sha256')
    .notNull()
    .references(() => blobs.sha256),
  source: jsonb('source').$type<Record<string, unknown>>().notNull(),
  createdAt: instant('created_at').notNull().defaultNow(),
});

/** environmentKey = sha256(lock, Python, base, platform). */
export const environments = pgTable('environments', {
  environmentKey: text('environment_key').primaryKey(),
  lockSha256: text('lock_sha256')
    .notNull()
    .references(() => blobs.sha256),
  python: text('python').notNull(),
  platform: text('platform').notNull(),
  base: text('base'),
  facts: jsonb('facts').$type<Record<string, unknown>>().notNull().default({}),
  createdAt: instant('created_at').notNull().defaultNow(),
});
