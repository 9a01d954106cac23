// What the dispatcher takes: queued executions, within the quotas of runs. The cost of a look depends on how many
// projects and users have something queued, never on how much.
import { eq, inArray, sql } from 'drizzle-orm';
import type { Priority } from '#core/priority.ts';
import { admit, type Applicant, createLedger, type Ledger, type Quota } from '#core/quota.ts';
import type { Database, Transaction } from './connect.ts';
import { listRunQuotas, runUsage } from './quotas.ts';
import { projects } from './schema/projects.ts';
import { runs } from './schema/runs.ts';

export interface Dispatchable {
  runId: string;
  n: number;
  project: string;
  number: number;
  owner: string;
  priority: Priority;
  experiment: string;
  name: string | null;
  tags: string[];
  cancelRequestedBy: string | null;
  isReproduction: boolean;
}

interface Taken {
  run_id: string;
  n: number;
}

/** Any constant that nothing else in the database uses; held while runs are counted and taken. */
const dispatchLock = 4_207_303;

/**
 * Takes executions that nobody dispatches: ones whose dispatcher died between taking and starting (taken longer than
 * `staleMs` ago), then new ones by priority, as many as the quotas admit. Rows that another dispatcher holds are skipped.
 */
export async function takeForDispatch(
  db: Database,
  options: { max: number; staleMs: number },
): Promise<Dispatchable[]> {
  const taken = await db.transaction(async (tx) => {
    const stale = await takeStale(tx, options);
    const max = options.max - stale.length;
    if (max <= 0) return stale;
    const quotas = await listRunQuotas(tx);
    return [...stale, ...(quotas.length === 0 ? await takeNext(tx, max) : await takeWithin(tx, quotas, max))];
  });
  return taken.length === 0 ? [] : await describe(db, taken);
}

async function takeStale(tx: Transaction, { max, staleMs }: { max: number; staleMs: number }): Promise<Taken[]> {
  const { rows } = await tx.execute<Taken & Record<string, unknown>>(sql`
    update executions set dispatched_at = clock_timestamp()
    where (run_id, n) in (
      select run_id, n from executions
      where dispatch = 'starting' and dispatched_at < clock_timestamp() - ${staleMs} * interval '1 millisecond'
      order by dispatched_at limit ${max} for update skip locked)
    returning run_id, n`);
  return rows;
}

async function takeNext(tx: Transaction, max: number): Promise<Taken[]> {
  const { rows } = await tx.execute<Taken & Record<string, unknown>>(sql`
    update executions set dispatch = 'starting', dispatched_at = clock_timestamp()
    where (run_id, n) in (
      select run_id, n from executions where dispatch = 'queued'
      order by priority, created_at limit ${max} for update skip locked)
    returning run_id, n`);
  return rows;
}

interface Candidate extends Applicant {
  runId: string;
  n: number;
}

/** Under one lock for all dispatchers, so that two of them do not both take the last place. */
async function takeWithin(tx: Transaction, quotas: readonly Quota[], max: number): Promise<Taken[]> {
  await tx.execute(sql`select pg_advisory_xact_lock(${dispatchLock})`);
  // Statistics from before a burst make the planner read and sort all that is queued in place of a step in the index.
  await tx.execute(sql`
    select set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true),
           set_config('enable_sort', 'off', true)`);
  const ledger = createLedger(quotas, await runUsage(tx));
  const chosen = admit(await listCandidates(tx, ledger, max), ledger, max);
  if (chosen.length === 0) return [];
  const ids = JSON.stringify(chosen.map(({ runId, n }) => ({ run_id: runId, n })));
  const { rows } = await tx.execute<Taken & Record<string, unknown>>(sql`
    update executions e set dispatch = 'starting', dispatched_at = clock_timestamp()
    from jsonb_to_recordset(${ids}::jsonb) as c(run_id uuid, n int)
    where e.run_id = c.run_id and e.n = c.n and e.dispatch = 'queued'
    returning e.run_id, e.n`);
  return rows;
}

/** The first of every project and user that has room; each group is found with one step through the index. */
async function listCandidates(tx: Transaction, ledger: Ledger, max: number): Promise<Candidate[]> {
  const groups = await tx.execute<{ project_id: string; project: string; owner: string }>(sql`
    with recursive groups as (
      (select project_id, owner from executions where dispatch = 'queued' order by project_id, owner limit 1)
      union all
      select next.project_id, next.owner from groups g cross join lateral (
        select e.project_id, e.owner from executions e
        where e.dispatch = 'queued' and (e.project_id, e.owner) > (g.project_id, g.owner)
        order by e.project_id, e.owner limit 1) next)
    select g.project_id, p.name as project, g.owner from groups g join projects p on p.id = g.project_id`);
  const withRoom = groups.rows.filter(
    ({ project, owner }) => ledger.shortageOf({ project, owner, priority: 1, since: 0, wants: { runs: 1 } }) === null,
  );
  if (withRoom.length === 0) return [];
  const { rows } = await tx.execute<CandidateRow>(sql`
    select g.project, g.owner, c.run_id, c.n, c.priority, c.since
    from jsonb_to_recordset(${JSON.stringify(withRoom)}::jsonb) as g(project_id uuid, project text, owner text)
    cross join lateral (
      select e.run_id, e.n, e.priority, extract(epoch from e.created_at)::float8 as since from executions e
      where e.dispatch = 'queued' and e.project_id = g.project_id and e.owner = g.owner
      order by e.priority, e.created_at limit ${max}) c`);
  return rows.map(({ run_id: runId, ...row }) => ({ ...row, runId, wants: { runs: 1 } }));
}

type CandidateRow = {
  project: string;
  owner: string;
  run_id: string;
  n: number;
  priority: number;
  since: number;
};

async function describe(db: Database, taken: readonly Taken[]): Promise<Dispatchable[]> {
  const ns = new Map(taken.map((row) => [row.run_id, row.n]));
  const found = await db
    .select({
      runId: runs.id,
      project: projects.name,
      number: runs.number,
      owner: runs.owner,
      priority: runs.priority,
      experiment: runs.experiment,
      name: runs.name,
      tags: runs.tags,
      cancelRequestedBy: runs.cancelRequestedBy,
      isReproduction: sql<boolean>`${runs.reproduces} is not null`,
    })
    .from(runs)
    .innerJoin(projects, eq(projects.id, runs.projectId))
    .where(inArray(runs.id, [...ns.keys()]))
    .orderBy(runs.priority, runs.submittedAt);
  return found.map((row) => ({ ...row, n: ns.get(row.runId) ?? 1 }));
}
