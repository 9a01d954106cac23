import { integer, pgTable, primaryKey, text } from 'drizzle-orm/pg-core';
import type { QuotaKind } from '#core/quota.ts';
import { instant } from './columns.ts';

/** What a project or a user may use at once. The name `*` is the default of all that have no row of their own. */
export const quotas = pgTable(
  'quotas',
  {
    kind: text('kind').$type<QuotaKind>().notNull(),
    name: text('name').notNull(),
    /** Null sets no limit, in each of the three. */
    runs: integer('runs'),
    stages: integer('stages'),
    devices: integer('devices'),
    setBy: text('set_by').notNull(),
    setAt: instant('set_at').notNull().defaultNow(),
  },
  (t) => [primaryKey({ columns: [t.kind, t.name] })],
);
