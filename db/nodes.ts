// Nodes: stage-worker hosts, their leases by Postgres' clock alone, and whether they take stages.
import { and, asc, desc, eq, gt, ne, sql } from 'drizzle-orm';
import { DomainError } from '#core/errors.ts';
import { failedLaunchesMax, type NodeState } from '#core/node-state.ts';
import { compareShapes, describeShape, isSameShape, type Pool } from '#core/pool.ts';
import { recordAudit } from './audit.ts';
import type { Database, Queryable } from './connect.ts';
import { nodes } from './schema/nodes.ts';

export type Node = typeof nodes.$inferSelect;
type NewNode = Pick<Node, 'id' | 'pool' | 'host' | 'slots' | 'shape' | 'devices' | 'hardware'>;

/** What a node is to do: its state, and whether a draining one stops its stages. */
export interface Duty {
  state: NodeState;
  reason: string | null;
  stopsStages: boolean;
}

const duty = { state: nodes.state, reason: nodes.stateReason, stopsStages: nodes.stopsStages };

/** A node that was not heard of for so long is taken for gone. */
const forgottenAfter = sql`interval '7 days'`;

const leaseUntil = (leaseMs: number) => sql`clock_timestamp() + ${leaseMs} * interval '1 millisecond'`;

/**
 * Registers the node when it starts; its state stays as it was. Of two nodes of different shapes that start at once in
 * one pool, one is refused. @throws shape-mismatch with both shapes.
 */
export async function registerNode(db: Database, node: NewNode, leaseMs: number): Promise<Duty> {
  return await db.transaction(async (tx) => {
    await tx.execute(sql`select pg_advisory_xact_lock(hashtextextended(${`pool ${node.pool}`}, 0))`);
    const others = await tx
      .select()
      .from(nodes)
      .where(and(eq(nodes.pool, node.pool), ne(nodes.id, node.id), gt(nodes.leaseExpiresAt, sql`clock_timestamp()`)));
    const differing = others.find((other) => !isSameShape(other.shape, node.shape));
    if (differing !== undefined) throw shapeMismatch(node, differing);
    await tx.update(nodes).set({ startedAt: sql`clock_timestamp()` }).where(eq(nodes.id, node.id));
    return await renewNode(tx, node, leaseMs);
  });
}

function shapeMismatch(node: NewNode, other: Node): DomainError {
  return new DomainError(
    'shape-mismatch',
    `A slot of this node has ${describeShape(node.shape)}, but pool ${node.pool} has slots of ${describeShape(other.shape)} (node ${other.id}). A pool has one shape: give this node another pool (--pool, ASSAY_POOL), or set ASSAY_SLOT_CPUS, ASSAY_SLOT_MEMORY_GIB and ASSAY_SLOT_GPUS to the pool's.`,
  );
}

/** Renews the lease and answers what the node is to do. */
export async function renewNode(db: Queryable, node: NewNode, leaseMs: number): Promise<Duty> {
  const leaseExpiresAt = leaseUntil(leaseMs);
  const [found] = await db
    .insert(nodes)
    .values({ ...node, leaseExpiresAt })
    .onConflictDoUpdate({ target: nodes.id, set: { ...node, leaseExpiresAt } })
    .returning(duty);
  if (found === undefined) throw new TypeError('an upsert answers its row');
  return found;
}

/** The lease ends now, because the node stops in an orderly way. */
export async function releaseNode(db: Queryable, id: string): Promise<void> {
  await db.update(nodes).set({ leaseExpiresAt: sql`clock_timestamp()` }).where(eq(nodes.id, id));
}

/** Those that were heard of in the last 7 days, or all that ever were. */
export async function listNodes(db: Queryable, all = true): Promise<Array<Node & { alive: boolean }>> {
  const rows = await db
    .select({ node: nodes, alive: sql<boolean>`${nodes.leaseExpiresAt} > clock_timestamp()` })
    .from(nodes)
    .where(all ? undefined : gt(nodes.leaseExpiresAt, sql`clock_timestamp() - ${forgottenAfter}`))
    .orderBy(asc(nodes.pool), asc(nodes.id));
  return rows.map(({ node, alive }) => ({ ...node, alive }));
}

/**
 * The shapes that exist, smallest first. A pool whose nodes are away for a while, or take nothing, still counts: its
 * runs wait for them.
 */
export async function listPools(db: Queryable): Promise<Pool[]> {
  const rows = await db
    .selectDistinctOn([nodes.pool], { pool: nodes.pool, shape: nodes.shape })
    .from(nodes)
    .where(gt(nodes.leaseExpiresAt, sql`clock_timestamp() - ${forgottenAfter}`))
    .orderBy(asc(nodes.pool), desc(nodes.leaseExpiresAt));
  return rows.toSorted((a, b) => compareShapes(a.shape, b.shape));
}

export interface StateChange {
  id: string;
  by: string;
}

/** The node takes no new stages; with `now` it stops those it has, which start elsewhere. @throws not-found */
export async function drainNode(
  db: Database,
  { id, by, now, reason }: StateChange & { now: boolean; reason: string | null },
): Promise<void> {
  await changeState(db, { state: 'draining', stateReason: reason, stopsStages: now }, { id, by }, 'node.drain');
}

/** The node takes stages again, whoever or whatever kept it from that. @throws not-found */
export async function resumeNode(db: Database, change: StateChange): Promise<void> {
  await changeState(db, { state: 'active', stateReason: null, stopsStages: false }, change, 'node.resume');
}

async function changeState(
  db: Database,
  state: Pick<Node, 'state' | 'stateReason' | 'stopsStages'>,
  { id, by }: StateChange,
  action: string,
): Promise<void> {
  await db.transaction(async (tx) => {
    const changed = await tx
      .update(nodes)
      .set({ ...state, stateBy: by, stateSince: sql`clock_timestamp()` })
      .where(eq(nodes.id, id))
      .returning({ id: nodes.id });
    if (changed.length === 0) {
      const message = `There is no node "${id.slice(0, 100)}". GET /api/v1/nodes?all=true lists them.`;
      throw new DomainError('not-found', message);
    }
    await recordAudit(tx, { actor: by, action, target: id, facts: { ...state } });
  });
}

/**
 * Puts a node aside whose last launches since it became active all failed by its infrastructure. They have to be of two
 * runs at least: a stage that brings down its own supervisor would otherwise take one node after the other with it. What
 * was launched before the node's last start counts no more: a machine that was restarted has lost all its stages.
 * Answers whether it did.
 */
export async function putAsideIfFailing(db: Database, id: string): Promise<boolean> {
  return await db.transaction(async (tx) => {
    const put = await tx.execute<{ state_reason: string }>(sql`
      update nodes set state = 'aside', state_by = 'assay', state_since = clock_timestamp(), stops_stages = false,
        state_reason = 'its last ' || last.launches || ' launches failed by infrastructure; the newest: ' || last.sentence
      from (
        select count(*) as launches, count(distinct run_id) as runs, bool_and(failed) as failed,
               (array_agg(sentence order by created_at desc))[1] as sentence
        from (
          select a.run_id, a.created_at, a.failure ->> 'sentence' as sentence,
                 a.status <> 'succeeded' and (a.failure ->> 'class' = 'infrastructure'
                   or (a.failure ->> 'class' = 'resources' and a.facts ->> 'started' = 'false')) as failed
          from attempts a join nodes n on n.id = a.node_id
          where a.node_id = ${id} and a.created_at > greatest(n.state_since, n.started_at)
            and (a.status = 'succeeded' or (a.status in ('failed', 'lost') and a.failure is not null))
            and coalesce(a.facts ->> 'drained', 'false') <> 'true'
          order by a.created_at desc limit ${failedLaunchesMax}) newest) last
      where id = ${id} and state = 'active' and last.launches = ${failedLaunchesMax} and last.runs > 1 and last.failed
      returning state_reason`);
    const reason = put.rows[0]?.state_reason;
    if (reason === undefined) return false;
    await recordAudit(tx, { actor: 'assay', action: 'node.put-aside', target: id, facts: { reason } });
    return true;
  });
}
