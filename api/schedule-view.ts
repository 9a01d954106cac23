// Schedules as the API shows them: in words, with the times that Temporal computes.
import cronstrue from 'cronstrue';
import type { Schedule, Tick } from '#contract/schedules.ts';
import { zonedTime } from '#core/time-zone.ts';
import type { TickRow } from '#db/schedule-ticks.ts';
import type { ScheduleRow } from '#db/schedules.ts';

export function scheduleView(row: ScheduleRow, next: Date[] | null, lastTick: TickRow | undefined): Schedule {
  return {
    id: row.id,
    project: row.project,
    name: row.name,
    cron: row.cron,
    timezone: row.timezone,
    words: inWords(row),
    next: next === null ? null : next.map((at) => timeView(row, at)),
    ref: row.ref,
    params: row.overrides,
    experiment: row.experiment,
    tags: row.tags,
    owner: row.owner,
    priority: row.priority,
    overlap: row.overlap,
    catchUpSeconds: row.catchUpSeconds,
    paused: row.pausedAt === null ? null : { at: row.pausedAt, by: row.pausedBy ?? '', note: row.pauseNote },
    source: row.isFromFile ? 'file' : 'person',
    trouble: row.trouble,
    lastTick: lastTick === undefined ? null : tickView(row, lastTick),
    createdBy: row.createdBy,
    createdAt: row.createdAt,
    updatedAt: row.updatedAt,
  };
}

/** `At 03:00, only on Monday (Europe/Berlin)`. Day and weekday both have to hold, as Temporal has it. */
export function inWords({ cron, timezone }: Pick<ScheduleRow, 'cron' | 'timezone'>): string {
  // A list with a star is the star, which the library has no words for.
  const plain = cron.split(/\s+/).map((field) => (field.split(',').includes('*') ? '*' : field));
  return `${cronstrue.toString(plain.join(' '), { use24HourTimeFormat: true, logicalAndDayFields: true })} (${timezone})`;
}

export function timeView({ timezone }: ScheduleRow, at: Date): { at: string; local: string } {
  return { at: at.toISOString(), local: zonedTime(at, timezone) };
}

export function tickView(row: ScheduleRow, tick: TickRow): Tick {
  return {
    nominalAt: tick.nominalAt,
    local: zonedTime(new Date(tick.nominalAt), row.timezone),
    origin: tick.origin,
    run: tick.run,
    runLabel: tick.number === null ? null : `${row.project}/${tick.number}`,
    runStatus: tick.status,
    skipped: tick.skipped,
    decidedAt: tick.decidedAt,
  };
}
