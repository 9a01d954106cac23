// When a schedule is due, as Temporal computes it: whoever starts the runs is the one to say when.
import { type Client, ScheduleNotFoundError } from '@temporalio/client';
import { msToTs, optionalTsToDate } from '@temporalio/common/lib/time.js';
import type { ScheduleRow } from '#db/schedules.ts';
import { isCurrent, mirrorId } from './mirror.ts';

/** Temporal answers at most this many times at once. */
const answerMax = 1_000;

/** The next times, soonest first; null while Temporal does not show this version of the row yet. */
export async function nextTimes(client: Client, row: ScheduleRow, timesMax: number): Promise<Date[] | null> {
  try {
    const shown = await client.schedule.getHandle(mirrorId(row.id)).describe();
    return isCurrent(shown, row) ? shown.info.nextActionTimes.slice(0, timesMax) : null;
  } catch (error) {
    if (error instanceof ScheduleNotFoundError) return null;
    throw error;
  }
}

/** The times after `from` until `to`, that one included; at most 1000. */
export async function timesBetween(client: Client, row: ScheduleRow, from: Date, to: Date): Promise<Date[]> {
  const { startTime } = await client.workflowService.listScheduleMatchingTimes({
    namespace: client.options.namespace,
    scheduleId: mirrorId(row.id),
    startTime: msToTs(from.getTime()),
    endTime: msToTs(to.getTime()),
  });
  return startTime.slice(0, answerMax).flatMap((time) => optionalTsToDate(time) ?? []);
}
