// How busy each node is: every open attempt holds one slot.
import { count, inArray } from 'drizzle-orm';
import type { Queryable } from './connect.ts';
import { attempts } from './schema/steps.ts';

export async function countOpenAttempts(db: Queryable): Promise<Map<string, number>> {
  const rows = await db
    .select({ node: attempts.nodeId, open: count() })
    .from(attempts)
    .where(inArray(attempts.status, ['starting', 'running']))
    .groupBy(attempts.nodeId);
  return new Map(rows.map((row) => [row.node, row.open]));
}
