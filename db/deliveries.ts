// Deliveries: what git hosts and polls announced, taken in once each, and what became of it.
import { and, desc, eq, lt } from 'drizzle-orm';
import type pg from 'pg';
import type { DeliveryOutcome, DeliverySource } from '#core/push.ts';
import { coalesce } from './coalesce.ts';
import type { Queryable } from './connect.ts';
import { newId } from './ids.ts';
import { isoInstant, isoInstantOrNull } from './instants.ts';
import { deliveries } from './schema/deliveries.ts';
import { runs } from './schema/runs.ts';
import { type Submit, submitWithin } from './submit.ts';
import { inTransaction } from './transaction.ts';

export interface Announced {
  projectId: string;
  source: DeliverySource;
  deliveryId: string;
  ref: string | null;
  branch: string | null;
  before: string | null;
  /** The branch's new head; null when it was deleted. */
  commit: string | null;
  /** Why it starts no run, when that is known without reading the commit. */
  reason: string | null;
}

export interface TakenIn {
  id: string;
  outcome: DeliveryOutcome;
  reason: string | null;
  runNumber: number | null;
  /** Whether an earlier delivery of the same id said something else. */
  differs: boolean;
}

const insertText = `
  insert into deliveries (id, project_id, source, delivery_id, ref, branch, before, commit, outcome, reason, settled_at)
  select i.id, i."projectId", i.source, i."deliveryId", i.ref, i.branch, i.before, i.commit,
         case when i.reason is null then 'accepted' else 'ignored' end, i.reason,
         case when i.reason is not null then clock_timestamp() end
  from jsonb_to_recordset($1::jsonb) as i(id uuid, "projectId" uuid, source text, "deliveryId" text, ref text,
    branch text, before text, commit text, reason text)
  order by i."projectId", i.source, i."deliveryId"
  on conflict (project_id, source, delivery_id) do nothing returning id`;

const earlierText = `
  select i.id as asked, d.id, d.outcome, d.reason, r.number as "runNumber",
         (d.ref, d.before, d.commit) is distinct from (i.ref, i.before, i.commit) as differs
  from jsonb_to_recordset($1::jsonb) as i(id uuid, "projectId" uuid, source text, "deliveryId" text, ref text,
    before text, commit text)
  join deliveries d on d.project_id = i."projectId" and d.source = i.source and d.delivery_id = i."deliveryId"
  left join runs r on r.id = d.run_id`;

/**
 * Takes deliveries in; each call resolves once its row is committed. Those of one moment are one statement, so that a
 * burst costs few commits. Whoever comes second with an id is answered what the first became.
 */
export function createDeliveryIntake(pool: pg.Pool): (announced: Announced) => Promise<TakenIn> {
  return coalesce(async (batch: Announced[]) => takeInMany(pool, batch), 200);
}

async function takeInMany(pool: pg.Pool, batch: readonly Announced[]): Promise<TakenIn[]> {
  const rows = batch.map((announced) => ({ ...announced, id: newId() }));
  const insert = { name: 'take-in-deliveries', text: insertText, values: [JSON.stringify(rows)] };
  const inserted = await pool.query<{ id: string }>(insert);
  const fresh = new Set(inserted.rows.map((row) => row.id));
  const others = rows.filter((row) => !fresh.has(row.id));
  const earlier = await findEarlier(pool, others);
  return rows.map((row) => {
    const found = earlier.get(row.id);
    if (found !== undefined) return found;
    const outcome = row.reason === null ? 'accepted' : 'ignored';
    return { id: row.id, outcome, reason: row.reason, runNumber: null, differs: false };
  });
}

async function findEarlier(
  pool: pg.Pool,
  rows: readonly (Announced & { id: string })[],
): Promise<Map<string, TakenIn>> {
  if (rows.length === 0) return new Map();
  const query = { name: 'earlier-deliveries', text: earlierText, values: [JSON.stringify(rows)] };
  const found = await pool.query<TakenIn & { asked: string }>(query);
  return new Map(found.rows.map(({ asked, ...row }) => [asked, row]));
}

/** Projects with deliveries to settle, the one that waits longest first. */
export async function listProjectsToSettle(
  pool: pg.Pool,
  { except, max }: { except: readonly string[]; max: number },
): Promise<string[]> {
  const found = await pool.query<{ id: string }>(
    `select project_id as id from deliveries
     where outcome = 'accepted' and next_attempt_at <= clock_timestamp() and project_id <> all($1::uuid[])
     group by project_id order by min(next_attempt_at) limit $2`,
    [except, max],
  );
  return found.rows.map((row) => row.id);
}

export interface DueDelivery {
  id: string;
  branch: string;
  before: string | null;
  commit: string;
  /** This one included. */
  attempts: number;
  project: { id: string; name: string; remoteUrl: string | null; defaultBranch: string };
  /** Who made the webhook, else the project. */
  owner: string;
}

/**
 * Takes deliveries of a project, oldest first. Taking one puts off its next attempt by `leaseSeconds`, so that a process
 * that dies leaves nothing behind, and others skip what is taken.
 */
export async function takeDueDeliveries(
  pool: pg.Pool,
  projectId: string,
  { max, leaseSeconds }: { max: number; leaseSeconds: number },
): Promise<DueDelivery[]> {
  const taken = await pool.query<Omit<DueDelivery, 'project'> & Record<'name' | 'remoteUrl' | 'defaultBranch', string>>(
    `with taken as (
       update deliveries set attempts = attempts + 1, next_attempt_at = clock_timestamp() + $3 * interval '1 second'
       where id in (
         select id from deliveries
         where project_id = $1 and outcome = 'accepted' and next_attempt_at <= clock_timestamp()
         order by id limit $2 for update skip locked)
       returning id, branch, before, commit, attempts, project_id)
     select t.id, t.branch, t.before, t.commit, t.attempts,
            p.name, p.remote_url as "remoteUrl", p.default_branch as "defaultBranch",
            coalesce((select h.created_by from hook_secrets h where h.project_id = p.id and h.sealed is not null
                      order by h.version desc limit 1), p.created_by) as owner
     from taken t join projects p on p.id = t.project_id order by t.id`,
    [projectId, max, leaseSeconds],
  );
  return taken.rows.map(({ name, remoteUrl, defaultBranch, ...row }) => ({
    ...row,
    project: { id: projectId, name, remoteUrl, defaultBranch },
  }));
}

/** The end of a delivery: a run of it, or one sentence that says why there is none. */
export type Settlement = { submit: Submit } | { reason: string };

/**
 * Writes what a delivery became, once: the run and the record of it are one transaction. A commit that has a run of its
 * branch gets no second one, whoever announced it. Answers false when the delivery was settled before.
 */
export async function settleDelivery(
  pool: pg.Pool,
  delivery: Pick<DueDelivery, 'id' | 'branch' | 'commit' | 'project'>,
  settlement: Settlement,
): Promise<boolean> {
  return await inTransaction(pool, async (client) => {
    // Two deliveries of one commit meet here; numbers of runs are taken under the same lock.
    await client.query('select 1 from projects where id = $1 for no key update', [delivery.project.id]);
    const open = `select 1 from deliveries where id = $1 and outcome = 'accepted' for update`;
    if ((await client.query(open, [delivery.id])).rowCount === 0) return false;
    if ('reason' in settlement) {
      await ignore(client, delivery.id, settlement.reason);
      return true;
    }
    const { project, branch, commit } = delivery;
    const earlier = await runOfCommit(client, project.id, branch, commit);
    if (earlier !== undefined) {
      await ignore(client, delivery.id, `This commit of ${branch} is the run ${project.name}/${earlier} already.`);
      return true;
    }
    const { runId } = await submitWithin(client, settlement.submit);
    await client.query(
      `update deliveries set outcome = 'run', run_id = $2, failure = null, settled_at = clock_timestamp() where id = $1`,
      [delivery.id, runId],
    );
    return true;
  });
}

async function ignore(client: pg.ClientBase, id: string, reason: string): Promise<void> {
  await client.query(
    `update deliveries set outcome = 'ignored', reason = $2, failure = null, settled_at = clock_timestamp() where id = $1`,
    [id, reason],
  );
}

async function runOfCommit(
  client: pg.ClientBase,
  projectId: string,
  branch: string,
  commit: string,
): Promise<number | undefined> {
  const found = await client.query<{ number: number }>(
    `select r.number from deliveries d join runs r on r.id = d.run_id
     where d.project_id = $1 and d.branch = $2 and d.commit = $3`,
    [projectId, branch, commit],
  );
  return found.rows[0]?.number;
}

/** Tries again later; the sentence says why the attempt failed. */
export async function postponeDelivery(
  pool: pg.Pool,
  id: string,
  { failure, delaySeconds }: { failure: string; delaySeconds: number },
): Promise<void> {
  await pool.query(
    `update deliveries set failure = $2, next_attempt_at = clock_timestamp() + $3 * interval '1 second'
     where id = $1 and outcome = 'accepted'`,
    [id, failure, delaySeconds],
  );
}

/** Gives back what was taken and not looked at. */
export async function giveBackDeliveries(pool: pg.Pool, ids: readonly string[]): Promise<void> {
  await pool.query(
    `update deliveries set attempts = attempts - 1, next_attempt_at = clock_timestamp()
     where id = any($1::uuid[]) and outcome = 'accepted'`,
    [ids],
  );
}

const columns = {
  id: deliveries.id,
  source: deliveries.source,
  ref: deliveries.ref,
  before: deliveries.before,
  commit: deliveries.commit,
  outcome: deliveries.outcome,
  reason: deliveries.reason,
  runNumber: runs.number,
  attempts: deliveries.attempts,
  failure: deliveries.failure,
  receivedAt: isoInstant(deliveries.receivedAt),
  settledAt: isoInstantOrNull(deliveries.settledAt),
};

export type DeliveryRow = Awaited<ReturnType<typeof listDeliveries>>[number];

/** Newest first. Ids are UUIDv7, so their order is that of arrival. */
export async function listDeliveries(db: Queryable, projectId: string, page: { limit: number; before: string | null }) {
  return await db
    .select(columns)
    .from(deliveries)
    .leftJoin(runs, eq(runs.id, deliveries.runId))
    .where(and(eq(deliveries.projectId, projectId), page.before === null ? undefined : lt(deliveries.id, page.before)))
    .orderBy(desc(deliveries.id))
    .limit(page.limit);
}
