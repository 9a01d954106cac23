// Looks at the remotes of projects: whose turn it is, and what the last look saw.
import type pg from 'pg';
import { newId } from './ids.ts';
import { inTransaction } from './transaction.ts';

/** How often a remote is asked when its project does not say and starts runs by pushes. */
const defaultPollSeconds = 300;
/** While a webhook delivers, looks are left out, but never for longer than this. */
const quietSecondsMax = 3_600;
const backOffSecondsMax = 3_600;
/** Heads of one look that become deliveries; the others are seen again at the next look. */
const announcedMax = 500;

export interface RemoteToPoll {
  projectId: string;
  remoteUrl: string;
  everySeconds: number;
  /** Branch → commit as last seen; null at the first look. */
  heads: Record<string, string> | null;
}

/**
 * Remotes that are due, longest waiting first. A project that says nothing is polled when it has a webhook, or when its
 * newest run's project file starts runs by pushes.
 */
export async function listRemotesToPoll(pool: pg.Pool, max: number): Promise<RemoteToPoll[]> {
  const found = await pool.query<RemoteToPoll>(
    `with wanted as (
       select p.id, p.remote_url,
              coalesce(p.poll_seconds, case
                when exists (select 1 from hook_secrets h where h.project_id = p.id and h.sealed is not null) then $2::int
                when (select r.config #> '{triggers,push}' from runs r where r.project_id = p.id and r.config is not null
                      order by r.submitted_at desc, r.id desc limit 1) <> '[]'::jsonb then $2::int
                else 0 end) as every
       from projects p where p.remote_url is not null and p.poll_seconds is distinct from 0)
     select w.id as "projectId", w.remote_url as "remoteUrl", w.every as "everySeconds", s.heads
     from wanted w left join remote_polls s on s.project_id = w.id
     where w.every > 0 and (s.next_at is null or s.next_at <= clock_timestamp())
       and (s.polled_at is null or s.polled_at < clock_timestamp() - $3 * interval '1 second'
            or not exists (select 1 from deliveries d where d.project_id = w.id and d.source <> 'poll'
                           and d.received_at > clock_timestamp() - w.every * interval '1 second'))
     order by s.next_at nulls first limit $1`,
    [max, defaultPollSeconds, quietSecondsMax],
  );
  return found.rows;
}

/**
 * Records what a look saw. The first one only remembers; after that every branch with another head than before becomes
 * a delivery, unless one has announced that commit already. Answers how many there are.
 */
export async function recordHeads(
  pool: pg.Pool,
  { projectId, everySeconds, heads: before }: RemoteToPoll,
  heads: ReadonlyMap<string, string>,
): Promise<number> {
  const moved = before === null ? [] : [...heads].filter(([branch, commit]) => before[branch] !== commit);
  const announced = moved.slice(0, announcedMax).map(([branch, commit]) => ({
    id: newId(),
    branch,
    commit,
    before: before?.[branch] ?? null,
  }));
  const held = moved.slice(announcedMax).map(([branch]) => branch);
  const seen = Object.fromEntries(
    [...heads].flatMap(([branch, commit]) => {
      if (!held.includes(branch)) return [[branch, commit]];
      const old = before?.[branch];
      return old === undefined ? [] : [[branch, old]];
    }),
  );
  return await inTransaction(pool, async (client) => {
    await client.query(
      `insert into remote_polls (project_id, heads, polled_at, next_at)
       values ($1, $2, clock_timestamp(), clock_timestamp() + $3 * (0.9 + random() * 0.2) * interval '1 second')
       on conflict (project_id) do update set heads = excluded.heads, polled_at = excluded.polled_at,
         next_at = excluded.next_at, failures = 0, failure = null`,
      [projectId, JSON.stringify(seen), held.length > 0 ? 0 : everySeconds],
    );
    const inserted = await client.query(
      `insert into deliveries (id, project_id, source, delivery_id, ref, branch, before, commit, outcome)
       select i.id, $1, 'poll', i.branch || '@' || i.commit, 'refs/heads/' || i.branch, i.branch, i.before, i.commit,
              'accepted'
       from jsonb_to_recordset($2::jsonb) as i(id uuid, branch text, before text, commit text)
       where not exists (select 1 from deliveries d
                         where d.project_id = $1 and d.branch = i.branch and d.commit = i.commit)
       on conflict (project_id, source, delivery_id) do nothing`,
      [projectId, JSON.stringify(announced)],
    );
    return inserted.rowCount ?? 0;
  });
}

/** Looks again later, twice as late after each failure in a row. */
export async function recordPollFailure(
  pool: pg.Pool,
  { projectId, everySeconds }: RemoteToPoll,
  failure: string,
): Promise<void> {
  await pool.query(
    `insert into remote_polls (project_id, failures, failure, next_at)
     values ($1, 1, $2, clock_timestamp() + $3 * (0.9 + random() * 0.2) * interval '1 second')
     on conflict (project_id) do update set failures = remote_polls.failures + 1, failure = excluded.failure,
       next_at = clock_timestamp() + least($3 * power(2, least(remote_polls.failures, 10)), greatest($3, $4))
                 * (0.9 + random() * 0.2) * interval '1 second'`,
    [projectId, failure, everySeconds, backOffSecondsMax],
  );
}

export interface PollRow {
  polledAt: string | null;
  failure: string | null;
}

export async function getPoll(pool: pg.Pool, projectId: string): Promise<PollRow | null> {
  const found = await pool.query<PollRow>(
    `select to_char(polled_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as "polledAt", failure
     from remote_polls where project_id = $1`,
    [projectId],
  );
  return found.rows[0] ?? null;
}
