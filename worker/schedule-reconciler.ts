// Compares Temporal's schedules with our rows until they agree: what could not be written there at once, what somebody
// changed or removed there, and what a Temporal without its database has lost.
import type { Client, ScheduleSummary } from '@temporalio/client';
import { sql } from 'drizzle-orm';
import type { Connection } from '#db/connect.ts';
import { lastTicks } from '#db/schedule-ticks.ts';
import { listLiveSchedules, type ScheduleRow, setTrouble } from '#db/schedules.ts';
import { isCurrent, mirrorSchedule, removeMirror, scheduleIdOf } from '#schedules/mirror.ts';
import type { Logger } from './logger.ts';
import { startTicking } from './ticking.ts';

const everyMs = 5_000;
/** A list does not show everything that can be changed by hand in Temporal; so often all is written again. */
const refreshMs = 600_000;
/** Any constant that nothing else in the database uses; held by the one reconciler that works. */
const reconcilerLock = 4_207_303;

export interface ScheduleReconcilerDeps {
  connection: Connection;
  client: Client;
  log: Logger;
}

export function startScheduleReconciler(deps: ScheduleReconcilerDeps): { stop(): Promise<void> } {
  let refreshedAt = Number.NEGATIVE_INFINITY;
  const pass = async () => {
    const isRefresh = performance.now() - refreshedAt >= refreshMs;
    const done = await reconcileSchedules(deps, isRefresh);
    if (done && isRefresh) refreshedAt = performance.now();
  };
  return startTicking(everyMs, pass, deps.log, 'reconciling schedules');
}

/** One pass; false when another process holds the lock. */
async function reconcileSchedules(deps: ScheduleReconcilerDeps, isRefresh: boolean): Promise<boolean> {
  const { db } = deps.connection;
  return await db.transaction(async (tx) => {
    const lock = await tx.execute<{ held: boolean }>(sql`select pg_try_advisory_xact_lock(${reconcilerLock}) as held`);
    if (lock.rows[0]?.held !== true) return false;
    // Temporal first: a row is written before its mirror, so what is only in Temporal has no row.
    const shown = await listMirrors(deps.client);
    const rows = await listLiveSchedules(db);
    const known = new Set(rows.map((row) => row.id));
    for (const id of shown.keys()) if (!known.has(id)) await removeMirror(deps.client, id);
    const stale = rows.filter((row) => isStale(row, shown.get(row.id), isRefresh));
    const missing = stale.filter((row) => !shown.has(row.id)).map((row) => row.id);
    const last = await lastTicks(db, missing);
    for (const row of stale) await mirror(deps, row, missedSince(row, last.get(row.id)?.nominalAt ?? null));
    return true;
  });
}

function isStale(row: ScheduleRow, shown: ScheduleSummary | undefined, isRefresh: boolean): boolean {
  // What Temporal refused it would refuse again, until the row changes.
  if (row.trouble !== null) return isRefresh;
  return isRefresh || shown === undefined || !isCurrent(shown, row);
}

async function listMirrors(client: Client): Promise<Map<string, ScheduleSummary>> {
  const shown = new Map<string, ScheduleSummary>();
  for await (const summary of client.schedule.list({ pageSize: 500 })) {
    const id = scheduleIdOf(summary.scheduleId);
    if (id !== null) shown.set(id, summary);
  }
  return shown;
}

/** One schedule in trouble does not keep the others from agreeing. */
async function mirror({ connection, client, log }: ScheduleReconcilerDeps, row: ScheduleRow, since: Date | null) {
  const { refused } = await mirrorSchedule(client, row, since);
  await setTrouble(connection.db, row, refused);
  if (refused === null) log.info({ schedule: row.id, version: row.version }, 'Temporal has the schedule');
  else log.warn({ schedule: row.id, refused }, 'Temporal refuses the schedule');
}

/** Times that a Temporal without this schedule may have missed; those that were decided before are decided once. */
function missedSince(row: ScheduleRow, lastNominalAt: string | null): Date | null {
  if (row.pausedAt !== null) return null;
  const windowStart = Date.now() - row.catchUpSeconds * 1000;
  return new Date(Math.max(windowStart, Date.parse(row.activeSince), Date.parse(lastNominalAt ?? row.activeSince)));
}
