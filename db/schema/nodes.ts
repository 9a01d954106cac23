import { integer, jsonb, pgTable, text } from 'drizzle-orm/pg-core';
import type { Shape } from '#core/pool.ts';
import { instant } from './columns.ts';

/** One stage-worker host. A node whose lease ran out is taken for dead. */
export const nodes = pgTable('nodes', {
  id: text('id').primaryKey(),
  pool: text('pool').notNull(),
  host: text('host').notNull(),
  slots: integer('slots').notNull(),
  /** What one slot offers: cpus, memoryGib, accelerators. */
  shape: jsonb('shape').$type<Shape>().notNull(),
  hardware: jsonb('hardware').$type<Record<string, unknown>>().notNull().default({}),
  startedAt: instant('started_at').notNull().defaultNow(),
  leaseExpiresAt: instant('lease_expires_at').notNull(),
});
