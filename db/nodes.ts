// Nodes: stage-worker hosts and their leases, by Postgres' clock alone.
import { asc, eq, gt, sql } from 'drizzle-orm';
import type { Pool } from '#core/pool.ts';
import type { Queryable } from './connect.ts';
import { nodes } from './schema/nodes.ts';

export type Node = typeof nodes.$inferSelect;

/** Registers the node or renews its lease. */
export async function renewNode(
  db: Queryable,
  node: Omit<typeof nodes.$inferInsert, 'leaseExpiresAt' | 'startedAt'>,
  leaseMs: number,
): Promise<void> {
  const leaseExpiresAt = sql`clock_timestamp() + ${leaseMs} * interval '1 millisecond'`;
  await db
    .insert(nodes)
    .values({ ...node, leaseExpiresAt })
    .onConflictDoUpdate({ target: nodes.id, set: { ...node, leaseExpiresAt } });
}

/** The lease ends now, because the node stops in an orderly way. */
export async function releaseNode(db: Queryable, id: string): Promise<void> {
  await db.update(nodes).set({ leaseExpiresAt: sql`clock_timestamp()` }).where(eq(nodes.id, id));
}

export async function listNodes(db: Queryable): Promise<Array<Node & { alive: boolean }>> {
  const rows = await db
    .select({ node: nodes, alive: sql<boolean>`${nodes.leaseExpiresAt} > clock_timestamp()` })
    .from(nodes)
    .orderBy(asc(nodes.pool), asc(nodes.id));
  return rows.map(({ node, alive }) => ({ ...node, alive }));
}

/**
 * The shapes that exist, smallest first: fewest devices, then fewest CPUs, then least memory. A pool whose nodes are
 * away for a while still counts: its runs wait for them.
 */
export async function listPools(db: Queryable): Promise<Pool[]> {
  const rows = await db
    .selectDistinctOn([nodes.pool], { pool: nodes.pool, shape: nodes.shape })
    .from(nodes)
    .where(gt(nodes.leaseExpiresAt, sql`clock_timestamp() - interval '7 days'`))
    .orderBy(asc(nodes.pool));
  return rows.toSorted(
    (a, b) =>
      a.shape.devices.length - b.shape.devices.length ||
      a.shape.cpus - b.shape.cpus ||
      a.shape.memoryGib - b.shape.memoryGib,
  );
}
