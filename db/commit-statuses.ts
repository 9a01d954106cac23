// What git hosts are to be told about runs. A trigger on runs writes what is wanted; what is sent is written here.
import type pg from 'pg';
import type { DeliverySource, HostKind } from '#core/push.ts';
import type { Failure, GateResult, RunStatus } from '#core/run.ts';

/** Attempts for one state of a run; the next state starts over. */
const statusAttemptsMax = 10;

export interface StatusToSend {
  runId: string;
  wanted: number;
  attempts: number;
  /** What the host was told last. */
  shown: string | null;
  project: { id: string; name: string; remoteUrl: string; hostKind: HostKind | null };
  /** Who announced the push; says what API the host speaks when nothing else does. */
  source: DeliverySource | null;
  number: number;
  branch: string | null;
  commit: string;
  status: RunStatus;
  gateResult: GateResult | null;
  failure: Failure | null;
}

type Row = Omit<StatusToSend, 'project'> & {
  projectId: string;
  name: string;
  remoteUrl: string;
  hostKind: HostKind | null;
};

/** Takes what is due with the run's state at this moment. Nobody else takes it for `leaseSeconds`. */
export async function takeDueStatuses(
  pool: pg.Pool,
  { max, leaseSeconds }: { max: number; leaseSeconds: number },
): Promise<StatusToSend[]> {
  const taken = await pool.query<Row>(
    `with taken as (
       update commit_statuses set attempts = attempts + 1,
              lease_expires_at = clock_timestamp() + $2 * interval '1 second'
       where run_id in (
         select run_id from commit_statuses
         where wanted > sent and attempts < $3 and next_attempt_at <= clock_timestamp()
           and (lease_expires_at is null or lease_expires_at <= clock_timestamp())
         order by next_attempt_at limit $1 for update skip locked)
       returning run_id, wanted, attempts, shown)
     select t.run_id as "runId", t.wanted, t.attempts, t.shown, p.id as "projectId", p.name, p.remote_url as "remoteUrl",
            p.host_kind as "hostKind", d.source, r.number, r.branch, r.commit, r.status, r.gate_result as "gateResult",
            r.failure
     from taken t join runs r on r.id = t.run_id join projects p on p.id = r.project_id
     left join deliveries d on d.id::text = r.trigger ->> 'delivery' and d.project_id = r.project_id
     where p.remote_url is not null`,
    [max, leaseSeconds, statusAttemptsMax],
  );
  return taken.rows.map(({ projectId: id, name, remoteUrl, hostKind, ...row }) => ({
    ...row,
    project: { id, name, remoteUrl, hostKind },
  }));
}

/** The host knows the state that was taken; one that was wanted meanwhile is due at once. */
export async function recordSent(pool: pg.Pool, { runId, wanted }: StatusToSend, shown: string): Promise<void> {
  await pool.query(
    `update commit_statuses set sent = greatest(sent, $2), shown = $3, failure = null, lease_expires_at = null
     where run_id = $1`,
    [runId, wanted, shown],
  );
}

/** Not told. `delaySeconds` null gives this state up; a state that was wanted meanwhile is tried all the same. */
export async function recordNotSent(
  pool: pg.Pool,
  { runId, wanted }: StatusToSend,
  { failure, delaySeconds }: { failure: string; delaySeconds: number | null },
): Promise<void> {
  await pool.query(
    `update commit_statuses set lease_expires_at = null,
       failure = case when wanted = $2 then $3 else failure end,
       attempts = case when wanted = $2 and $4::float8 is null then $5 else attempts end,
       next_attempt_at = case when wanted = $2 then clock_timestamp() + coalesce($4::float8, 0) * interval '1 second'
                         else next_attempt_at end
     where run_id = $1`,
    [runId, wanted, failure, delaySeconds, statusAttemptsMax],
  );
}

/** Why the newest state that could not be told was not told; null when every host knows everything. */
export async function newestStatusFailure(pool: pg.Pool, projectId: string): Promise<string | null> {
  const found = await pool.query<{ failure: string }>(
    `select s.failure from commit_statuses s join runs r on r.id = s.run_id
     where r.project_id = $1 and s.failure is not null and s.wanted > s.sent
     order by r.submitted_at desc limit 1`,
    [projectId],
  );
  return found.rows[0]?.failure ?? null;
}
