// Accepting runs: one statement inserts run, execution, idempotency key and audit record for all submits of a moment.
import type pg from 'pg';
import { DomainError } from '#core/errors.ts';
import { coalesce } from './coalesce.ts';
import { idempotencyConflict } from './idempotency.ts';
import { newId } from './ids.ts';
import type { Priority } from '#core/priority.ts';
import type { Trigger } from '#core/trigger.ts';

export interface Submit {
  projectId: string;
  owner: string;
  ref: string;
  /** Full hash, when the caller knows it; else resolve-commit finds it. */
  commit: string | null;
  branch: string | null;
  experiment: string;
  name: string | null;
  note: string | null;
  tags: string[];
  overrides: Record<string, unknown>;
  seed: number | null;
  command: string[] | null;
  /** ISO 8601; null is the moment of acceptance, by Postgres' clock. */
  asOf: string | null;
  dirty: boolean;
  patchSha256: string | null;
  reuse: boolean;
  likeRunId: string | null;
  /** Stages that are to run whatever results are kept. */
  rerun: string[];
  resumedFrom: string | null;
  reproduces: string | null;
  /** The checkpoint set that a stage of that name starts from; null takes that of the run resumed or reproduced, if any. */
  initFrom: { runId: string; step: string; number: number } | null;
  /** One stage of it; null is the whole run. */
  reproducesOnly: string | null;
  /** Null when a person submits. */
  trigger: Trigger | null;
  priority: Priority;
  request: { tokenId: string; key: string; route: string; bodySha256: string } | null;
}

/** Of a submit that asks for nothing in particular. */
export const plainSubmit = {
  experiment: 'default',
  name: null,
  note: null,
  tags: [],
  overrides: {},
  seed: null,
  command: null,
  asOf: null,
  dirty: false,
  patchSha256: null,
  reuse: true,
  likeRunId: null,
  rerun: [],
  resumedFrom: null,
  reproduces: null,
  initFrom: null,
  reproducesOnly: null,
  request: null,
} satisfies Partial<Submit>;

export type Accepted =
  | { repeated: false; runId: string; number: number; asOf: string; submittedAt: string }
  /** An earlier request with the same key made the run. */
  | { repeated: true; runId: string };

/**
 * Submits of one moment are inserted together, so the lock on a project's run number is held once per batch and not
 * once per run. Ids are made here; numbers come from the project's row. The trigger on executions wakes the dispatcher.
 */
const insertStatement = {
  name: 'accept-submits',
  text: `
    with input as materialized (
      select * from rows from (jsonb_to_recordset($1::jsonb) as (
        "id" uuid, "projectId" uuid, "owner" text, "ref" text, "commit" text, "branch" text, "experiment" text, "name" text, "note" text,
        "tags" text[], "overrides" jsonb, "seed" bigint, "command" jsonb, "asOf" timestamptz, "dirty" boolean,
        "patchSha256" text, "reuse" boolean, "likeRunId" uuid, "rerun" text[], "resumedFrom" uuid, "reproduces" uuid, "reproducesOnly" text, "initFrom" jsonb, "trigger" jsonb, "priority" int, "tokenId" uuid, "key" text, "route" text,
        "bodySha256" text)) with ordinality as t(
        id, project_id, owner, ref, commit, branch, experiment, name, note, tags, overrides, seed, command, as_of, dirty,
        patch_sha256, reuse, like_run_id, rerun, resumed_from, reproduces, reproduces_only, init_from, trigger, priority, token_id, key, route, body_sha256, position)
    ), held as materialized (
      select i.id, s.run_id, s.step, s.number
      from input i join checkpoint_sets s
        on s.run_id = (i.init_from->>'runId')::uuid and s.step = i.init_from->>'step' and s.number = (i.init_from->>'number')::int
      where jsonb_typeof(i.init_from) = 'object'
      for key share of s
    ), timely as (
      select * from input
      where (as_of is null or as_of <= now())
        and (jsonb_typeof(init_from) is distinct from 'object' or id in (select id from held))
    ), keys as (
      insert into idempotency_keys (token_id, key, route, body_sha256, resource_id)
      select token_id, key, route, body_sha256, id::text from timely where key is not null order by token_id, key
      on conflict do nothing returning resource_id
    ), fresh as (
      select * from timely where key is null or id::text in (select resource_id from keys)
    ), numbers as (
      update projects p set next_run_number = p.next_run_number + f.n
      from (select project_id, count(*)::int n from fresh group by 1) f
      where p.id = f.project_id
      returning p.id, p.next_run_number - f.n as first
    ), inserted as (
      insert into runs (id, project_id, number, experiment, name, note, tags, owner, ref, commit, branch, as_of, overrides,
                        seed_asked, command, dirty, patch_sha256, reuse, like_run_id, resumed_from, reproduces, reproduces_only, trigger, priority, submitted_at, updated_at)
      select f.id, f.project_id,
             n.first + (row_number() over (partition by f.project_id order by f.position))::int - 1,
             f.experiment, f.name, f.note, f.tags, f.owner, f.ref, f.commit, f.branch, coalesce(f.as_of, now()), f.overrides,
             f.seed, nullif(f.command, 'null'), f.dirty, f.patch_sha256, f.reuse, f.like_run_id, f.resumed_from, f.reproduces, f.reproduces_only, nullif(f.trigger, 'null'), f.priority, now(), now()
      from fresh f join numbers n on n.id = f.project_id
      returning id, project_id, number, owner, priority, as_of, submitted_at
    ), started as (
      insert into executions (run_id, n, project_id, owner, priority, rerun)
      select i.id, 1, i.project_id, i.owner, i.priority, f.rerun from inserted i join fresh f on f.id = i.id
    ), pinned as (
      insert into initial_checkpoints (run_id, from_run_id, step, number)
      select i.id, h.run_id, h.step, h.number from inserted i join held h on h.id = i.id
      union all
      select i.id, c.from_run_id, c.step, c.number
      from inserted i join fresh f on f.id = i.id
        join initial_checkpoints c on c.run_id = coalesce(f.resumed_from, f.reproduces)
      where jsonb_typeof(f.init_from) is distinct from 'object'
    ), recorded as (
      insert into audit (actor, action, target, facts)
      select owner, 'run.submit', id::text, jsonb_build_object('number', number) from inserted
    )
    select i.id, i.as_of > now() as future, r.number,
           to_char(r.as_of at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as "asOf",
           to_char(r.submitted_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as "submittedAt"
    from input i left join inserted r on r.id = i.id order by i.position`,
};

interface Outcome {
  id: string;
  /** Null unless the run was inserted, as are the two after it. */
  number: number | null;
  asOf: string;
  submittedAt: string;
  /** The asked as-of has not happened yet. */
  future: boolean | null;
}

/** Accepts submits; each call resolves once its run is committed. */
export function createSubmitter(pool: pg.Pool): (submit: Submit) => Promise<Accepted> {
  const insertMany = coalesce(
    (batch: Array<Submit & { id: string }>) => withoutDeadlock(() => insertRuns(pool, batch)),
    200,
  );
  return async (submit) => accepted(pool, submit, await insertMany({ ...submit, id: newId() }));
}

/** Accepts one submit in a transaction of the caller, together with what the caller writes there. */
export async function submitWithin(client: pg.ClientBase, submit: Submit): Promise<Accepted> {
  const [outcome] = await insertRuns(client, [{ ...submit, id: newId() }]);
  if (outcome === undefined) throw new TypeError('an insert answers once per submit');
  return await accepted(client, submit, outcome);
}

type Client = Pick<pg.ClientBase, 'query'>;

async function accepted(client: Client, submit: Submit, outcome: Outcome): Promise<Accepted> {
  const { id: runId, number, asOf, submittedAt, future } = outcome;
  if (number !== null) return { repeated: false, runId, number, asOf, submittedAt };
  if (future !== true && submit.request !== null) return await earlierRun(client, submit, submit.request);
  if (future !== true && submit.initFrom !== null) throw replacedMeanwhile(submit.initFrom);
  throw new DomainError(
    'as-of-in-future',
    `asOf is ${submit.asOf}, which has not happened yet by the server's clock. Leave it out to take this moment.`,
  );
}

async function insertRuns(client: Client, batch: Array<Submit & { id: string }>): Promise<Outcome[]> {
  const values = [JSON.stringify(batch.map(({ request, ...submit }) => ({ ...submit, ...request })))];
  return (await client.query<Outcome>({ ...insertStatement, values })).rows;
}

const deadlockDetected = '40P01';

/** Two API processes may take keys and projects in crossed order; Postgres ends one of them, which starts over. */
async function withoutDeadlock<T>(task: () => Promise<T>, attemptsLeft = 5): Promise<T> {
  try {
    return await task();
  } catch (error) {
    const code = (error as { code?: unknown }).code;
    if (code !== deadlockDetected || attemptsLeft === 0) throw error;
    return await withoutDeadlock(task, attemptsLeft - 1);
  }
}

async function earlierRun(
  client: Client,
  { initFrom }: Submit,
  request: NonNullable<Submit['request']>,
): Promise<Accepted> {
  const found = await client.query<{ route: string; body_sha256: string; resource_id: string }>(
    'select route, body_sha256, resource_id from idempotency_keys where token_id = $1 and key = $2',
    [request.tokenId, request.key],
  );
  const [first] = found.rows;
  if (first === undefined && initFrom !== null) throw replacedMeanwhile(initFrom);
  if (first?.route !== request.route || first.body_sha256 !== request.bodySha256)
    throw idempotencyConflict(request.key);
  return { repeated: true, runId: first.resource_id };
}

/** Its run went on and made newer ones between the look and the submit. */
function replacedMeanwhile({ step, number }: NonNullable<Submit['initFrom']>): DomainError {
  const message = `Checkpoint set ${number} of ${step} was replaced by newer ones while this was submitted. Submit again.`;
  return new DomainError('checkpoint-missing', message);
}
