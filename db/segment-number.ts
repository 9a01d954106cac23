// Which commit of its table a segment is. Commit times of the lake never repeat, so they order the segments.
import { and, count, eq, lte, sql } from 'drizzle-orm';
import type { Queryable } from './connect.ts';
import { lakeSegments } from './schema/lake.ts';

/** How many segments the table had at that instant. */
export async function countSegments(db: Queryable, table: string, until: string): Promise<number> {
  const [row] = await db
    .select({ segments: count() })
    .from(lakeSegments)
    .where(and(eq(lakeSegments.tableName, table), lte(lakeSegments.committedAt, sql`${until}::timestamptz`)));
  return row?.segments ?? 0;
}
