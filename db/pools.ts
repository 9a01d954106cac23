// Pools as people see them: their shape, their slots, and how many stages wait for one.
import { sql } from 'drizzle-orm';
import type { Shape } from '#core/pool.ts';
import type { Queryable } from './connect.ts';
import { isoInstantOrNull } from './instants.ts';
import { listPools } from './nodes.ts';
import { steps } from './schema/steps.ts';

export interface PoolQueue {
  name: string;
  shape: Shape;
  nodes: number;
  nodesActive: number;
  slots: number;
  slotsUsed: number;
  waiting: number;
  oldestWaitingSince: string | null;
}

type Counts = {
  pool: string;
  nodes: number;
  nodes_active: number;
  slots: number;
  slots_used: number;
  waiting: number;
  oldest: string | null;
};

/** Smallest shape first. */
export async function listPoolQueues(db: Queryable): Promise<PoolQueue[]> {
  const [pools, { rows }] = await Promise.all([
    listPools(db),
    db.execute<Counts>(sql`
      select n.pool, n.nodes, n.nodes_active, n.slots, coalesce(a.used, 0)::int as slots_used,
             coalesce(w.waiting, 0)::int as waiting, w.oldest
      from (
        select pool, count(*)::int as nodes, (count(*) filter (where active))::int as nodes_active,
               coalesce(sum(slots) filter (where active), 0)::int as slots
        from (select pool, slots, state = 'active' and lease_expires_at > clock_timestamp() as active from nodes
              where lease_expires_at > clock_timestamp() - interval '7 days') heard
        group by pool) n
      left join (select pool, count(*) as used from attempts where status in ('starting', 'running') group by pool) a
        on a.pool = n.pool
      left join (select pool, count(*) as waiting, ${isoInstantOrNull(sql`min(${steps.waitingSince})`)} as oldest from steps
                 where kind = 'stage' and status = 'waiting' and waits_for = 'slot' group by pool) w on w.pool = n.pool`),
  ]);
  const byName = new Map(rows.map((row) => [row.pool, row]));
  return pools.map(({ pool, shape }) => {
    const row = byName.get(pool);
    return {
      name: pool,
      shape,
      nodes: row?.nodes ?? 0,
      nodesActive: row?.nodes_active ?? 0,
      slots: row?.slots ?? 0,
      slotsUsed: row?.slots_used ?? 0,
      waiting: row?.waiting ?? 0,
      oldestWaitingSince: row?.oldest ?? null,
    };
  });
}
