import { bigserial, index, jsonb, pgTable, text } from 'drizzle-orm/pg-core';
import { instant } from './columns.ts';

/** Who changed what; append-only, one record per mutation, written in the mutation's transaction. */
export const audit = pgTable(
  'audit',
  {
    id: bigserial('id', { mode: 'number' }).primaryKey(),
    at: instant('at').notNull().defaultNow(),
    actor: text('actor').notNull(),
    action: text('action').notNull(),
    target: text('target').notNull(),
    facts: jsonb('facts').$type<Record<string, unknown>>().notNull().default({}),
  },
  (t) => [index('audit_by_target').on(t.target, t.id)],
);
