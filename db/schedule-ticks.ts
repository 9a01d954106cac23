// What becomes of a time that a schedule was due: one transaction decides, and decides once.
import { and, desc, eq, inArray, lt, sql } from 'drizzle-orm';
import type pg from 'pg';
import { DomainError } from '#core/errors.ts';
import { formatDuration } from '#core/quantities.ts';
import { openRunStatuses } from '#core/run.ts';
import type { TickOrigin } from '#core/schedule.ts';
import { recordAudit } from './audit.ts';
import type { Queryable, Transaction } from './connect.ts';
import { type RequestKey, rememberRequest } from './idempotency.ts';
import { isoInstant } from './instants.ts';
import { requestCancelWithin } from './runs.ts';
import { lockSchedule, type ScheduleRow } from './schedules.ts';
import { projects } from './schema/projects.ts';
import { runs } from './schema/runs.ts';
import { scheduleFiles, scheduleTicks } from './schema/schedules.ts';
import { plainSubmit, submitWithin } from './submit.ts';
import { transact } from './transact.ts';

/** Either a run or the reason why there is none. */
export type TickOutcome =
  | { runId: string; label: string; skipped: null }
  | { runId: null; label: null; skipped: string };

/** By the database's clock the time has not come yet; nothing was decided. */
export class EarlyTick extends Error {
  readonly earlyMs: number;

  constructor(earlyMs: number) {
    super(`The time is ${earlyMs} ms ahead of the database's clock.`);
    this.name = 'EarlyTick';
    this.earlyMs = earlyMs;
  }
}

/**
 * Decides a tick of the clock. However often it is delivered, the first decision stands.
 * @throws EarlyTick
 */
export async function takeTick(pool: pg.Pool, tick: { scheduleId: string; nominalAt: string }): Promise<TickOutcome> {
  return await transact(pool, async (tx, client) => {
    const schedule = await lockSchedule(tx, tick.scheduleId);
    if (schedule === undefined) return skipped('Assay knows no such schedule');
    const earlier = await findOutcome(tx, schedule, tick.nominalAt);
    if (earlier !== undefined) return earlier;
    const { earlyMs, reason } = await judgeTime(tx, schedule, tick.nominalAt);
    if (earlyMs > 0) throw new EarlyTick(earlyMs);
    const refused = reason ?? (await makeRoom(tx, schedule));
    if (refused !== null) return await recordSkip(tx, schedule.id, tick.nominalAt, refused);
    return await startRun(tx, client, schedule, { nominalAt: tick.nominalAt, origin: 'clock' });
  });
}

/** A run now, whatever overlap and pause say. @throws not-found, conflict without a commit to run. */
export async function triggerNow(
  pool: pg.Pool,
  scheduleId: string,
  by: string,
  request: RequestKey | null,
): Promise<string> {
  return await transact(pool, async (tx, client) => {
    const schedule = await lockLiveFor(tx, scheduleId);
    const now = await tx.execute<{ at: string }>(sql`select ${isoInstant(sql`now()`)} as at`);
    const nominalAt = now.rows[0]?.at ?? '';
    // The key stands for the tick, whose time is known before its run.
    const earlier = await rememberRequest(tx, request, nominalAt);
    const decided = await findOutcome(tx, schedule, earlier ?? nominalAt);
    if (decided !== undefined) return runOf(decided);
    const outcome = await startRun(tx, client, schedule, { nominalAt, origin: 'hand' });
    const facts = { nominalAt, run: outcome.runId };
    await recordAudit(tx, { actor: by, action: 'schedule.trigger', target: schedule.id, facts });
    return runOf(outcome);
  });
}

export interface BackfilledTime {
  nominalAt: string;
  runId: string;
  label: string;
  /** The time had its run before. */
  repeated: boolean;
}

/** A run for each of these past times that has none yet, also for those that were skipped. All or nothing. */
export async function backfill(
  pool: pg.Pool,
  scheduleId: string,
  nominalTimes: readonly string[],
  by: string,
): Promise<BackfilledTime[]> {
  return await transact(pool, async (tx, client) => {
    const schedule = await lockLiveFor(tx, scheduleId);
    const filled: BackfilledTime[] = [];
    for (const nominalAt of nominalTimes) {
      const decided = await findOutcome(tx, schedule, nominalAt);
      const repeated = decided !== undefined && decided.runId !== null;
      const outcome = repeated ? decided : await startRun(tx, client, schedule, { nominalAt, origin: 'backfill' });
      if (outcome.runId === null) throw new DomainError('conflict', sentence(outcome.skipped));
      filled.push({ nominalAt, runId: outcome.runId, label: outcome.label, repeated });
    }
    const fresh = filled.filter((one) => !one.repeated);
    const facts = { from: nominalTimes[0], to: nominalTimes.at(-1), runs: fresh.length };
    if (fresh.length > 0) await recordAudit(tx, { actor: by, action: 'schedule.backfill', target: schedule.id, facts });
    return filled;
  });
}

async function lockLiveFor(tx: Transaction, id: string): Promise<ScheduleRow> {
  const schedule = await lockSchedule(tx, id);
  if (schedule !== undefined && schedule.deletedAt === null) return schedule;
  throw new DomainError('not-found', 'The schedule was deleted a moment ago. List the schedules to see what there is.');
}

function runOf(outcome: TickOutcome): string {
  if (outcome.runId !== null) return outcome.runId;
  throw new DomainError('conflict', sentence(outcome.skipped));
}

function sentence(reason: string): string {
  return `${reason.charAt(0).toUpperCase()}${reason.slice(1)}.`;
}

function skipped(reason: string): TickOutcome {
  return { runId: null, label: null, skipped: reason };
}

async function findOutcome(
  tx: Transaction,
  schedule: ScheduleRow,
  nominalAt: string,
): Promise<TickOutcome | undefined> {
  const [tick] = await tx
    .select({ runId: scheduleTicks.runId, number: runs.number, skipped: scheduleTicks.skipped })
    .from(scheduleTicks)
    .leftJoin(runs, eq(runs.id, scheduleTicks.runId))
    .where(and(eq(scheduleTicks.scheduleId, schedule.id), eq(scheduleTicks.nominalAt, nominalAt)));
  if (tick === undefined) return undefined;
  if (tick.runId === null) return skipped(tick.skipped ?? '');
  return { runId: tick.runId, label: `${schedule.project}/${tick.number}`, skipped: null };
}

/** By the database's clock alone, as everything that is compared with an as-of. */
async function judgeTime(
  tx: Transaction,
  schedule: ScheduleRow,
  nominalAt: string,
): Promise<{ earlyMs: number; reason: string | null }> {
  const compared = await tx.execute<{ late_ms: number; before_active: boolean }>(sql`
    select (extract(epoch from now() - ${nominalAt}::timestamptz) * 1000)::float8 as late_ms,
           ${nominalAt}::timestamptz < ${schedule.activeSince}::timestamptz as before_active`);
  const [{ late_ms: lateMs, before_active: beforeActive } = { late_ms: 0, before_active: false }] = compared.rows;
  if (lateMs < 0) return { earlyMs: Math.ceil(-lateMs), reason: null };
  return { earlyMs: 0, reason: reasonToSkip(schedule, lateMs, beforeActive) };
}

function reasonToSkip(schedule: ScheduleRow, lateMs: number, beforeActive: boolean): string | null {
  if (schedule.deletedAt !== null) return 'the schedule was deleted';
  if (schedule.pausedAt !== null) {
    const note = schedule.pauseNote === null ? '' : `: ${schedule.pauseNote}`;
    return `the schedule is paused by ${schedule.pausedBy}${note}`;
  }
  if (beforeActive) return 'the schedule was made, resumed or given other times after this time';
  const windowMs = schedule.catchUpSeconds * 1000;
  if (lateMs <= windowMs) return null;
  return `the time came ${formatDuration(lateMs)} late, and the catch-up window is ${formatDuration(windowMs)}`;
}

/** Null when a run may start now, else why not. `cancel-previous` asks the open runs to stop in this transaction. */
async function makeRoom(tx: Transaction, schedule: ScheduleRow): Promise<string | null> {
  if (schedule.overlap === 'allow') return null;
  const open = await tx
    .select({ id: runs.id, number: runs.number, status: runs.status })
    .from(scheduleTicks)
    .innerJoin(runs, eq(runs.id, scheduleTicks.runId))
    .where(
      and(
        eq(scheduleTicks.scheduleId, schedule.id),
        inArray(scheduleTicks.origin, ['clock', 'hand']),
        inArray(runs.status, [...openRunStatuses]),
      ),
    )
    .orderBy(runs.id)
    // Held, so that none of them ends before it was asked to.
    .for('update', { of: runs });
  const [first] = open;
  if (first === undefined) return null;
  if (schedule.overlap === 'skip')
    return `${schedule.project}/${first.number} of this schedule is still ${first.status}`;
  for (const { id } of open) await requestCancelWithin(tx, id, `schedule ${schedule.name}`);
  return null;
}

async function startRun(
  tx: Transaction,
  client: pg.PoolClient,
  schedule: ScheduleRow,
  tick: { nominalAt: string; origin: TickOrigin },
): Promise<TickOutcome> {
  const source = await findSource(tx, schedule);
  if ('missing' in source) {
    if (tick.origin !== 'clock') return skipped(source.missing);
    return await recordSkip(tx, schedule.id, tick.nominalAt, source.missing);
  }
  const accepted = await submitWithin(client, {
    projectId: schedule.projectId,
    owner: schedule.owner,
    ...source,
    ...plainSubmit,
    experiment: schedule.experiment,
    tags: schedule.tags,
    overrides: schedule.overrides,
    asOf: tick.nominalAt,
    trigger: { kind: 'schedule', schedule: schedule.name, nominalAt: tick.nominalAt },
    priority: schedule.priority,
  });
  if (accepted.repeated) throw new TypeError('a submit without a key is never a repetition');
  const decision = { origin: tick.origin, runId: accepted.runId, skipped: null, decidedAt: sql`clock_timestamp()` };
  await tx
    .insert(scheduleTicks)
    .values({ scheduleId: schedule.id, nominalAt: tick.nominalAt, ...decision })
    // Only a backfill comes here for a time that was skipped.
    .onConflictDoUpdate({ target: [scheduleTicks.scheduleId, scheduleTicks.nominalAt], set: decision });
  return { runId: accepted.runId, label: `${schedule.project}/${accepted.number}`, skipped: null };
}

async function recordSkip(
  tx: Transaction,
  scheduleId: string,
  nominalAt: string,
  reason: string,
): Promise<TickOutcome> {
  await tx.insert(scheduleTicks).values({ scheduleId, nominalAt, origin: 'clock', skipped: reason });
  return skipped(reason);
}

type Source = { ref: string; commit: string | null; branch: string | null } | { missing: string };

/**
 * With a remote, the first step of the run asks it what the reference is. Without one a branch is known only by the
 * runs that were submitted from it: the newest says which commit it is.
 */
async function findSource(tx: Transaction, schedule: ScheduleRow): Promise<Source> {
  const [project] = await tx.select().from(projects).where(eq(projects.id, schedule.projectId));
  if (project === undefined) throw new TypeError(`Project ${schedule.projectId} is gone although projects are kept.`);
  const ref = schedule.ref ?? project.defaultBranch;
  if (/^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(ref)) return { ref, commit: ref, branch: null };
  if (project.remoteUrl !== null) return { ref, commit: null, branch: null };
  const [submitted] = await tx
    .select({ commit: runs.commit })
    .from(runs)
    .where(
      and(
        eq(runs.projectId, project.id),
        eq(runs.branch, ref),
        eq(runs.dirty, false),
        sql`${runs.commit} is not null and ${runs.likeRunId} is null and ${runs.trigger} is null`,
      ),
    )
    .orderBy(desc(runs.submittedAt), desc(runs.id))
    .limit(1);
  const commit = submitted?.commit ?? (await commitOfFile(tx, project.id, ref));
  if (commit !== null) return { ref, commit, branch: ref };
  return { missing: `the server has no commit of ${ref}; submit a run from that branch first` };
}

async function commitOfFile(tx: Transaction, projectId: string, branch: string): Promise<string | null> {
  const [file] = await tx
    .select({ commit: scheduleFiles.commit })
    .from(scheduleFiles)
    .where(and(eq(scheduleFiles.projectId, projectId), eq(scheduleFiles.branch, branch)));
  return file?.commit ?? null;
}

const tickColumns = {
  nominalAt: isoInstant(scheduleTicks.nominalAt),
  origin: scheduleTicks.origin,
  run: scheduleTicks.runId,
  number: runs.number,
  status: runs.status,
  skipped: scheduleTicks.skipped,
  decidedAt: isoInstant(scheduleTicks.decidedAt),
};

export type TickRow = Awaited<ReturnType<typeof listTicks>>[number];

/** Newest due time first. */
export async function listTicks(db: Queryable, scheduleId: string, page: { limit: number; before: string | null }) {
  const before = page.before === null ? undefined : lt(scheduleTicks.nominalAt, page.before);
  return await db
    .select(tickColumns)
    .from(scheduleTicks)
    .leftJoin(runs, eq(runs.id, scheduleTicks.runId))
    .where(and(eq(scheduleTicks.scheduleId, scheduleId), before))
    .orderBy(desc(scheduleTicks.nominalAt))
    .limit(page.limit);
}

/** Those of these times that were decided before. */
export async function listTicksAt(db: Queryable, scheduleId: string, nominalTimes: readonly string[]) {
  if (nominalTimes.length === 0) return [];
  return await db
    .select(tickColumns)
    .from(scheduleTicks)
    .leftJoin(runs, eq(runs.id, scheduleTicks.runId))
    .where(and(eq(scheduleTicks.scheduleId, scheduleId), inArray(scheduleTicks.nominalAt, [...nominalTimes])));
}

/** The newest time of the clock that was decided, of each of these schedules. */
export async function lastTicks(db: Queryable, scheduleIds: readonly string[]): Promise<Map<string, TickRow>> {
  if (scheduleIds.length === 0) return new Map();
  const found = await db
    .selectDistinctOn([scheduleTicks.scheduleId], { scheduleId: scheduleTicks.scheduleId, ...tickColumns })
    .from(scheduleTicks)
    .leftJoin(runs, eq(runs.id, scheduleTicks.runId))
    .where(and(inArray(scheduleTicks.scheduleId, [...scheduleIds]), eq(scheduleTicks.origin, 'clock')))
    .orderBy(scheduleTicks.scheduleId, desc(scheduleTicks.nominalAt));
  return new Map(found.map(({ scheduleId, ...tick }) => [scheduleId, tick]));
}
