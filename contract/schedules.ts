// Schedules: runs that recur. When one is due is said in words, in its own time zone and in UTC.
import { z } from 'zod';
import { cronHasDate, isCron } from '#core/cron.ts';
import { defaultPriority, priorities } from '#core/priority.ts';
import { runStatuses } from '#core/run.ts';
import {
  backfillTimesMax,
  catchUpSeconds,
  defaultOverlap,
  defaultTimeZone,
  overlaps,
  tickOrigins,
} from '#core/schedule.ts';
import { isTimeZone } from '#core/time-zone.ts';
import { asOf, instant, page, pageQuery, projectRef, slug, uuid, whole } from './primitives.ts';
import { defineRoute } from './route.ts';
import { experiment, parameters, runSummary, tags } from './runs.ts';

const cron = z
  .string()
  .max(250)
  .refine(isCron, {
    error: ({ input }) =>
      `found ${shown(input)}, expected a cron expression of five fields (minute hour day month weekday), such as "0 3 * * *", or a word such as @daily`,
    abort: true,
  })
  .refine(cronHasDate, {
    error: ({ input }) => `found ${shown(input)}, expected a date that some year has; this one never comes`,
  });

const timezone = z.string().refine(isTimeZone, {
  error: ({ input }) => `found ${shown(input)}, expected a time zone by its exact name, such as Europe/Berlin or UTC`,
});

const catchUp = z.number().int().min(catchUpSeconds.min).max(catchUpSeconds.max);
const ref = z.string().min(1).max(250);
const priority = z.literal([...priorities]);

function shown(input: unknown): string {
  return JSON.stringify(input)?.slice(0, 100) ?? 'nothing';
}

/** A moment as the clocks of the schedule's zone show it, and as the rest of the world does. */
const time = z.object({
  at: instant,
  /** The same instant with the zone's own time and its distance from UTC. */
  local: z.string(),
});

export const tick = z
  .object({
    nominalAt: instant,
    local: z.string(),
    origin: z.enum(tickOrigins),
    run: uuid.nullable(),
    runLabel: z.string().nullable(),
    runStatus: z.enum(runStatuses).nullable(),
    /** Why there is no run. */
    skipped: z.string().nullable(),
    decidedAt: instant,
  })
  .meta({ id: 'ScheduleTick', description: 'What became of one time that a schedule was due.' });
export type Tick = z.output<typeof tick>;

export const schedule = z
  .object({
    id: uuid,
    project: z.string(),
    name: z.string(),
    cron: z.string(),
    timezone: z.string(),
    /** The cron expression in words. */
    words: z.string(),
    /** The next five times; null while Temporal does not answer or does not have this version yet. */
    next: z.array(time).nullable(),
    /** Branch, tag or commit; null is the project's default branch. */
    ref: z.string().nullable(),
    params: z.record(z.string(), z.unknown()),
    experiment: z.string(),
    tags: z.array(z.string()),
    owner: z.string(),
    priority: z.number().int(),
    overlap: z.enum(overlaps),
    catchUpSeconds: z.number().int(),
    paused: z.object({ at: instant, by: z.string(), note: z.string().nullable() }).nullable(),
    /** `file`: declared by assay.yaml, and changed only there. */
    source: z.enum(['person', 'file']),
    /** What Temporal said when it refused the schedule; nothing is started then. */
    trouble: z.string().nullable(),
    /** The newest time of the clock that was decided. */
    lastTick: tick.nullable(),
    createdBy: z.string(),
    createdAt: instant,
    updatedAt: instant,
  })
  .meta({ id: 'Schedule' });
export type Schedule = z.output<typeof schedule>;

export const createScheduleBody = z
  .strictObject({
    name: slug,
    cron,
    timezone: timezone.default(defaultTimeZone),
    /** The project's default branch when absent. */
    ref: ref.nullable().default(null),
    params: parameters.default({}),
    experiment: experiment.default('default'),
    tags: tags.default([]),
    priority: priority.default(defaultPriority),
    /** What a tick does while a run of the one before is open. */
    overlap: z.enum(overlaps).default(defaultOverlap),
    /** A tick that comes later than this starts nothing. */
    catchUpSeconds: catchUp.default(catchUpSeconds.default),
  })
  .meta({ id: 'CreateSchedule' });

export const changeScheduleBody = z
  .strictObject({
    cron,
    timezone,
    ref: ref.nullable(),
    params: parameters,
    experiment,
    tags,
    priority,
    overlap: z.enum(overlaps),
    catchUpSeconds: catchUp,
  })
  .partial()
  .meta({ id: 'ChangeSchedule' });

const range = {
  /** Times from this instant on. */
  from: asOf,
  /** Up to this instant, which is included; not after now. */
  to: asOf,
};

const scheduledTime = z.object({
  at: instant,
  local: z.string(),
  /** What became of it; null when it was never due or nothing is known. */
  tick: tick.nullable(),
});

const backfilled = z.object({
  at: instant,
  local: z.string(),
  run: uuid,
  runLabel: z.string(),
  /** The time had its run before. */
  repeated: z.boolean(),
});

const params = z.object({ project: projectRef, schedule: slug });

export const scheduleRoutes = {
  listSchedules: defineRoute({
    method: 'GET',
    path: '/projects/:project/schedules',
    permission: 'read',
    tag: 'schedules',
    summary: 'List the schedules of a project by name',
    params: z.object({ project: projectRef }),
    query: z.object(pageQuery),
    status: 200,
    answer: page(schedule),
    problems: ['not-found'],
  }),
  createSchedule: defineRoute({
    method: 'POST',
    path: '/projects/:project/schedules',
    permission: 'schedules',
    tag: 'schedules',
    summary: 'Create a schedule',
    description:
      'It works while Temporal is down; the schedule is due as soon as Temporal has it. All fields of the cron expression have to hold, also day and weekday.',
    params: z.object({ project: projectRef }),
    body: createScheduleBody,
    status: 201,
    answer: schedule,
    problems: ['not-found', 'conflict', 'invalid-reference', 'idempotency-conflict'],
    idempotent: true,
  }),
  getSchedule: defineRoute({
    method: 'GET',
    path: '/projects/:project/schedules/:schedule',
    permission: 'read',
    tag: 'schedules',
    summary: 'Get a schedule with its next times',
    params,
    status: 200,
    answer: schedule,
    problems: ['not-found'],
  }),
  changeSchedule: defineRoute({
    method: 'PATCH',
    path: '/projects/:project/schedules/:schedule',
    permission: 'schedules',
    tag: 'schedules',
    summary: 'Change a schedule; runs that were started stay as they are',
    params,
    body: changeScheduleBody,
    status: 200,
    answer: schedule,
    problems: ['not-found', 'conflict', 'invalid-reference'],
  }),
  deleteSchedule: defineRoute({
    method: 'DELETE',
    path: '/projects/:project/schedules/:schedule',
    permission: 'schedules',
    tag: 'schedules',
    summary: 'Delete a schedule; its runs stay',
    params,
    status: 204,
    problems: ['not-found', 'conflict'],
  }),
  pauseSchedule: defineRoute({
    method: 'POST',
    path: '/projects/:project/schedules/:schedule/pause',
    permission: 'schedules',
    tag: 'schedules',
    summary: 'Let a schedule start nothing until it is resumed',
    params,
    body: z.strictObject({ note: z.string().min(1).max(500).nullable().default(null) }),
    status: 200,
    answer: schedule,
    problems: ['not-found'],
  }),
  resumeSchedule: defineRoute({
    method: 'POST',
    path: '/projects/:project/schedules/:schedule/resume',
    permission: 'schedules',
    tag: 'schedules',
    summary: 'Let a paused schedule go on; what was due meanwhile is not made up for',
    params,
    status: 200,
    answer: schedule,
    problems: ['not-found'],
  }),
  triggerSchedule: defineRoute({
    method: 'POST',
    path: '/projects/:project/schedules/:schedule/trigger',
    permission: 'schedules',
    tag: 'schedules',
    summary: 'Start a run of a schedule now, whatever pause and overlap say',
    params,
    status: 201,
    answer: runSummary,
    problems: ['not-found', 'conflict', 'idempotency-conflict'],
    idempotent: true,
  }),
  listScheduleTimes: defineRoute({
    method: 'GET',
    path: '/projects/:project/schedules/:schedule/times',
    permission: 'read',
    tag: 'schedules',
    summary: 'List the times of a range with what became of them: what a backfill would do',
    description: `As Temporal computes them. A range of more than ${backfillTimesMax} times is refused.`,
    params,
    query: z.object(range),
    status: 200,
    answer: whole(scheduledTime),
    problems: ['not-found', 'invalid-request'],
  }),
  backfillSchedule: defineRoute({
    method: 'POST',
    path: '/projects/:project/schedules/:schedule/backfill',
    permission: 'schedules',
    tag: 'schedules',
    summary: 'Start a run for each time of a range that has none yet',
    description:
      'All or nothing. Each run looks at the data of its own time. Repeating it starts nothing twice. Overlap and pause do not count.',
    params,
    body: z.strictObject(range),
    status: 201,
    answer: whole(backfilled),
    problems: ['not-found', 'conflict', 'invalid-request'],
  }),
  listScheduleTicks: defineRoute({
    method: 'GET',
    path: '/projects/:project/schedules/:schedule/ticks',
    permission: 'read',
    tag: 'schedules',
    summary: 'List what became of each time a schedule was due, newest first',
    params,
    query: z.object(pageQuery),
    status: 200,
    answer: page(tick),
    problems: ['not-found'],
  }),
};
