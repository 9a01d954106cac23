import { index, jsonb, pgTable, text, uuid } from 'drizzle-orm/pg-core';
import type { Grade, Verdict, VerdictReport } from '#core/verdict.ts';
import { instant } from './columns.ts';
import { runs } from './runs.ts';

/** How a reproduction compares with its original; shown on both. Written once. */
export const verdicts = pgTable(
  'verdicts',
  {
    /** The reproduction. */
    runId: uuid('run_id')
      .primaryKey()
      .references(() => runs.id),
    originalId: uuid('original_id')
      .notNull()
      .references(() => runs.id),
    verdict: text('verdict').$type<Verdict>().notNull(),
    grade: text('grade').$type<Grade>().notNull(),
    report: jsonb('report').$type<VerdictReport>().notNull(),
    createdAt: instant('created_at').notNull().defaultNow(),
  },
  (t) => [index('verdicts_by_original').on(t.originalId)],
);
