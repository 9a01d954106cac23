// What open runs wait for, as it is at this moment: the stored reason, with the place in the queue and what keeps the
// queue from moving.
import { sql } from 'drizzle-orm';
import type { NodeState } from '#core/node-state.ts';
import { createLedger, shortageSentence } from '#core/quota.ts';
import type { RunStatus } from '#core/run.ts';
import type { Queryable } from './connect.ts';
import { isoInstant } from './instants.ts';
import { listRunQuotas, runUsage } from './quotas.ts';

export interface StageWait {
  runId: string;
  step: string;
  for: 'quota' | 'slot';
  pool: string;
  since: string;
  /** Counted from 1, about as they will be served: by priority, the users in turn, the longest wait first. */
  place: number;
  of: number;
  sentence: string;
}

interface OpenRun {
  id: string;
  status: RunStatus;
  project: string;
  owner: string;
  waitingReason: string | null;
}

type WaitRow = Omit<StageWait, 'sentence' | 'runId'> & { run_id: string; reason: string };

/** The stages of these runs that wait for a slot or a quota. */
export async function listStageWaits(db: Queryable, runIds: readonly string[]): Promise<StageWait[]> {
  if (runIds.length === 0) return [];
  const { rows } = await db.execute<WaitRow>(sql`
    with mine as (
      select distinct s.pool from steps s
      where s.run_id = any(${sql.param([...runIds])}::uuid[]) and s.kind = 'stage' and s.status = 'waiting'
        and s.pool is not null and s.waits_for in ('quota', 'slot')
    ), waiting as (
      select s.run_id, s.name, s.pool, s.waits_for, s.waiting_since, s.reason, r.priority,
             case s.waits_for when 'slot' then '' else r.project_id::text end as queue,
             row_number() over (partition by s.waits_for, s.pool, r.priority, r.owner order by s.waiting_since) as turn
      from steps s join runs r on r.id = s.run_id
      where s.kind = 'stage' and s.status = 'waiting' and s.pool in (select pool from mine) and s.waits_for in ('quota', 'slot')
        and r.status <> 'needs-attention'
    ), ranked as (
      select *, row_number() over (partition by waits_for, pool, queue order by priority, turn, waiting_since)::int as place,
             count(*) over (partition by waits_for, pool, queue)::int as total
      from waiting
    )
    select run_id, name as step, waits_for as "for", pool, ${isoInstant(sql`waiting_since`)} as since, place, total as of, reason
    from ranked where run_id = any(${sql.param([...runIds])}::uuid[])`);
  const troubles = await poolTroubles(
    db,
    rows.map(({ pool }) => pool),
  );
  return rows.map(({ run_id: runId, reason, ...row }) => ({
    ...row,
    runId,
    sentence:
      row.for === 'quota' ? reason : `${reason}, about place ${row.place} of ${row.of}${troubles.get(row.pool) ?? ''}`,
  }));
}

type PoolNode = { id: string; pool: string; state: NodeState; reason: string | null; alive: boolean };

/** Of pools in which no node takes stages: why. */
async function poolTroubles(db: Queryable, pools: readonly string[]): Promise<Map<string, string>> {
  if (pools.length === 0) return new Map();
  const { rows } = await db.execute<PoolNode>(sql`
    select id, pool, state, state_reason as reason, lease_expires_at > clock_timestamp() as alive from nodes
    where pool = any(${sql.param([...new Set(pools)])}::text[])
      and lease_expires_at > clock_timestamp() - interval '7 days'`);
  const byPool = Map.groupBy(rows, ({ pool }) => pool);
  const stuck = [...new Set(pools)].filter(
    (pool) => !(byPool.get(pool) ?? []).some(({ alive, state }) => alive && state === 'active'),
  );
  return new Map(stuck.map((pool) => [pool, `; ${troubleOf(byPool.get(pool) ?? [])}`]));
}

function troubleOf(nodes: readonly PoolNode[]): string {
  const [only] = nodes;
  if (only === undefined) return 'it has no node';
  if (nodes.length === 1) return `its only node ${only.id} ${conditionOf(only)}`;
  const conditions = [...new Set(nodes.map(conditionOf))];
  return `none of its ${nodes.length} nodes takes stages: ${conditions.join('; ')}`;
}

function conditionOf({ alive, state, reason }: PoolNode): string {
  const because = reason === null ? '' : `: ${reason}`;
  if (state === 'aside') return `is put aside${because}`;
  if (!alive) return 'does not answer';
  return state === 'draining' ? `is drained${because}` : 'takes stages';
}

/** Why each of these runs does not move; runs that do are left out. */
export async function explainWaiting(db: Queryable, runs: readonly OpenRun[]): Promise<Map<string, string>> {
  const waiting = runs.filter(({ status }) => status === 'waiting').map(({ id }) => id);
  const queued = runs.filter(({ status }) => status === 'queued');
  const [waits, shortages] = await Promise.all([listStageWaits(db, waiting), explainQueued(db, queued)]);
  const sorted = waits.toSorted((a, b) => (a.step < b.step ? -1 : 1));
  const stored = runs.flatMap(({ id, waitingReason }) =>
    waitingReason === null ? [] : [[id, waitingReason] as const],
  );
  const first = sorted.toReversed().map(({ runId, step, sentence }) => [runId, `${step} ${sentence}`] as const);
  return new Map([...stored, ...first, ...shortages]);
}

async function explainQueued(db: Queryable, queued: readonly OpenRun[]): Promise<Map<string, string>> {
  if (queued.length === 0) return new Map();
  const quotas = await listRunQuotas(db);
  if (quotas.length === 0) return new Map();
  const ledger = createLedger(quotas, await runUsage(db));
  return new Map(
    queued.flatMap(({ id, project, owner }) => {
      const shortage = ledger.shortageOf({ project, owner, priority: 1, since: 0, wants: { runs: 1 } });
      return shortage === null ? [] : [[id, shortageSentence(shortage)] as const];
    }),
  );
}

/** The place of a queued run among those of its project, in the order in which they will be started. */
export async function placeOfQueued(db: Queryable, runId: string): Promise<{ place: number; of: number } | null> {
  const { rows } = await db.execute<{ place: number; of: number }>(sql`
    select (select count(*)::int from executions e where e.dispatch = 'queued' and e.project_id = me.project_id
              and (e.priority, e.created_at) < (me.priority, me.created_at)) + 1 as place,
           (select count(*)::int from executions e where e.dispatch = 'queued' and e.project_id = me.project_id) as of
    from executions me where me.run_id = ${runId}::uuid and me.dispatch = 'queued'`);
  return rows[0] ?? null;
}
