import { index, jsonb, pgTable, primaryKey, text } from 'drizzle-orm/pg-core';
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
  /** When every wheel that it is made of was kept; null when it can only be made from an index. */
  wheelsKeptAt: instant('wheels_kept_at'),
  createdAt: instant('created_at').notNull().defaultNow(),
});

/** The mirror: the wheels that an environment is made of, and those that its lock brings. */
export const environmentWheels = pgTable(
  'environment_wheels',
  {
    environmentKey: text('environment_key')
      .notNull()
      .references(() => environments.environmentKey),
    filename: text('filename').notNull(),
    sha256: text('sha256')
      .notNull()
      .references(() => blobs.sha256),
    /** `lock`: it travels with the lock, because no index has it. `built`: here, of an archive of the index. */
    origin: text('origin').$type<'index' | 'built' | 'lock'>().notNull(),
  },
  (t) => [primaryKey({ columns: [t.environmentKey, t.filename] }), index('environment_wheels_by_blob').on(t.sha256)],
);
