import { bigint, pgTable, text } from 'drizzle-orm/pg-core';
import { instant } from './columns.ts';

/** Every blob has a row, written after its bytes are complete and verified; every reference is a foreign key. */
export const blobs = pgTable('blobs', {
  sha256: text('sha256').primaryKey(),
  sizeBytes: bigint('size_bytes', { mode: 'number' }).notNull(),
  /** `damaged`: a reader found the bytes gone or changed, and nothing refers to them anew until somebody stores them again. */
  state: text('state').$type<'live' | 'damaged' | 'deleting'>().notNull().default('live'),
  touchedAt: instant('touched_at').notNull().defaultNow(),
  createdAt: instant('created_at').notNull().defaultNow(),
});
