// Schedules. Postgres first; Temporal is told when it is there, and the reconciler makes up for what it was not told.
import type { Client } from '@temporalio/client';
import type { FastifyBaseLogger, FastifyInstance } from 'fastify';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Access } from '#api/access.ts';
import type { ApiDeps } from '#api/deps.ts';
import { requestKey } from '#api/idempotency.ts';
import { pageOf, textCursor } from '#api/paging.ts';
import { HttpError } from '#api/problems.ts';
import { scheduleView, tickView, timeView } from '#api/schedule-view.ts';
import { serve } from '#api/serve.ts';
import type { Schedule } from '#contract/schedules.ts';
import { routes } from '#contract/routes.ts';
import { DomainError } from '#core/errors.ts';
import { backfillTimesMax } from '#core/schedule.ts';
import { backfill, lastTicks, listTicks, listTicksAt, triggerNow } from '#db/schedule-ticks.ts';
import {
  changeSchedule,
  createSchedule,
  deleteSchedule,
  findSchedule,
  getSchedule,
  listSchedules,
  pauseSchedule,
  resumeSchedule,
  type ScheduleRow,
  setTrouble,
} from '#db/schedules.ts';
import type { Principal } from '#db/tokens.ts';
import { parseReference } from '#git/reference.ts';
import { mirrorSchedule, removeMirror } from '#schedules/mirror.ts';
import { nextTimes, timesBetween } from '#schedules/times.ts';
import { createSummaryReader } from './runs.ts';

const temporalDeadlineMs = 2_000;
const nextShown = 5;
const pollMs = 50;

export function scheduleRoutes(app: FastifyInstance, deps: ApiDeps, access: Access): void {
  const { db, pool } = deps.connection;
  const summary = createSummaryReader(deps);

  serve(app, routes.listSchedules, async ({ principal, params, query: { limit, cursor }, request }) => {
    const project = await access.project(principal, params.project);
    const rows = await listSchedules(db, project.id, { limit: limit + 1, after: textCursor(cursor) });
    const page = pageOf(rows, limit, (row) => row.name);
    const ticks = await lastTicks(
      db,
      page.items.map(({ id }) => id),
    );
    const view = async (row: ScheduleRow) =>
      scheduleView(row, await upcoming(deps, row, request.log), ticks.get(row.id));
    return { ...page, items: await Promise.all(page.items.map(view)) };
  });

  serve(app, routes.createSchedule, async ({ principal, params, body, request, reply }) => {
    const project = await access.project(principal, params.project);
    if (body.ref !== null) parseReference(body.ref);
    const { params: overrides, ...choice } = body;
    const wanted = { ...choice, overrides, tags: unique(body.tags), projectId: project.id, owner: principal.owner };
    const id = await createSchedule(db, wanted, requestKey(request));
    reply.header('location', `/api/v1/projects/${project.name}/schedules/${body.name}`);
    return await changed(id, request.log);
  });

  serve(app, routes.getSchedule, async ({ principal, params, request }) => {
    return await view(await find(principal, params), request.log);
  });

  serve(app, routes.changeSchedule, async ({ principal, params, body, request }) => {
    const { id } = await find(principal, params);
    if (typeof body.ref === 'string') parseReference(body.ref);
    const { params: overrides, tags, ...choice } = body;
    const change = {
      ...choice,
      ...(overrides === undefined ? {} : { overrides }),
      ...(tags === undefined ? {} : { tags: unique(tags) }),
    };
    await changeSchedule(db, id, change, principal.owner);
    return await changed(id, request.log);
  });

  serve(app, routes.deleteSchedule, async ({ principal, params, request }) => {
    const { id } = await find(principal, params);
    await deleteSchedule(db, id, principal.owner);
    await tell(deps, request.log, (client) => removeMirror(client, id));
  });

  serve(app, routes.pauseSchedule, async ({ principal, params, body, request }) => {
    const { id } = await find(principal, params);
    await pauseSchedule(db, id, principal.owner, body.note);
    return await changed(id, request.log);
  });

  serve(app, routes.resumeSchedule, async ({ principal, params, request }) => {
    const { id } = await find(principal, params);
    await resumeSchedule(db, id, principal.owner);
    return await changed(id, request.log);
  });

  serve(app, routes.triggerSchedule, async ({ principal, params, request }) => {
    const { id } = await find(principal, params);
    return await summary(await triggerNow(pool, id, principal.owner, requestKey(request, null)));
  });

  serve(app, routes.listScheduleTimes, async ({ principal, params, query }) => {
    const row = await find(principal, params);
    const times = await timesOf(deps, row, query);
    const instants = times.map((at) => at.toISOString());
    const ticks = await listTicksAt(db, row.id, instants);
    const byTime = new Map(ticks.map((tick) => [Date.parse(tick.nominalAt), tick]));
    const items = times.map((at) => {
      const tick = byTime.get(at.getTime());
      return { ...timeView(row, at), tick: tick === undefined ? null : tickView(row, tick) };
    });
    return { items };
  });

  serve(app, routes.backfillSchedule, async ({ principal, params, body }) => {
    const row = await find(principal, params);
    const times = await timesOf(deps, row, body);
    const instants = times.map((at) => at.toISOString());
    const filled = await backfill(pool, row.id, instants, principal.owner);
    const items = filled.map(({ nominalAt, runId, label, repeated }) => {
      return { ...timeView(row, new Date(nominalAt)), run: runId, runLabel: label, repeated };
    });
    return { items };
  });

  serve(app, routes.listScheduleTicks, async ({ principal, params, query: { limit, cursor } }) => {
    const row = await find(principal, params);
    const rows = await listTicks(db, row.id, { limit: limit + 1, before: instantCursor(cursor) });
    const page = pageOf(rows, limit, (tick) => tick.nominalAt);
    return { ...page, items: page.items.map((tick) => tickView(row, tick)) };
  });

  async function find(principal: Principal, params: { project: string; schedule: string }): Promise<ScheduleRow> {
    const project = await access.project(principal, params.project);
    const row = await findSchedule(db, project.id, params.schedule);
    if (row !== undefined) return row;
    const message = `The project ${project.name} has no schedule "${params.schedule}". List its schedules to see what there is.`;
    throw new DomainError('not-found', message);
  }

  async function view(row: ScheduleRow, log: FastifyBaseLogger): Promise<Schedule> {
    const [next, ticks] = await Promise.all([upcoming(deps, row, log), lastTicks(db, [row.id])]);
    return scheduleView(row, next, ticks.get(row.id));
  }

  /** The schedule after a change, told to Temporal, with its times once Temporal shows them. */
  async function changed(id: string, log: FastifyBaseLogger): Promise<Schedule> {
    const row = await getSchedule(db, id);
    const next = await tell(deps, log, async (client) => {
      const { refused } = await mirrorSchedule(client, row, null);
      await setTrouble(db, row, refused);
      return refused === null ? await untilShown(client, row) : null;
    });
    const ticks = await lastTicks(db, [id]);
    return scheduleView(await getSchedule(db, id), next ?? null, ticks.get(id));
  }
}

/** An update takes effect a moment after it was taken. */
async function untilShown(client: Client, row: ScheduleRow): Promise<Date[] | null> {
  const end = Date.now() + temporalDeadlineMs / 2;
  for (;;) {
    const next = await nextTimes(client, row, nextShown);
    if (next !== null || Date.now() > end) return next;
    await sleep(pollMs);
  }
}

async function upcoming(deps: ApiDeps, row: ScheduleRow, log: FastifyBaseLogger): Promise<Date[] | null> {
  return (await tell(deps, log, (client) => nextTimes(client, row, nextShown))) ?? null;
}

/** The row is stored, so a Temporal that does not answer delays its schedule and loses nothing. */
async function tell<T>(
  deps: ApiDeps,
  log: FastifyBaseLogger,
  what: (client: Client) => Promise<T>,
): Promise<T | undefined> {
  const client = deps.temporal();
  if (client === null) return undefined;
  try {
    return await client.withDeadline(Date.now() + temporalDeadlineMs, () => what(client));
  } catch (error) {
    log.warn({ err: error }, 'Temporal was not told of a schedule; the reconciler will do it');
    return undefined;
  }
}

/** @throws invalid-request for a range that ends in the future, ends before it starts, or has too many times. */
async function timesOf(deps: ApiDeps, row: ScheduleRow, range: { from: string; to: string }): Promise<Date[]> {
  const [from, to] = [new Date(range.from), new Date(range.to)];
  if (to < from) throw badRange('to', `found ${range.to}, expected an instant that is not before ${range.from}`);
  if (to.getTime() > Date.now())
    throw badRange('to', `found ${range.to}, expected an instant that is not in the future`);
  // Temporal leaves out the start of a range, and a cron expression knows no parts of a second.
  const times = await askTimes(deps, row, new Date(from.getTime() - 1), to);
  if (times.length <= backfillTimesMax) return times;
  const found = times.length >= 1_000 ? '1000 or more' : String(times.length);
  throw badRange(
    'to',
    `found ${found} times from ${range.from} to ${range.to}, expected at most ${backfillTimesMax}; take a shorter range`,
  );
}

async function askTimes(deps: ApiDeps, row: ScheduleRow, from: Date, to: Date): Promise<Date[]> {
  const client = deps.temporal();
  if (client === null) throw temporalAway();
  try {
    return await client.withDeadline(Date.now() + temporalDeadlineMs, async () => {
      await requireShown(client, row);
      return await timesBetween(client, row, from, to);
    });
  } catch (error) {
    if (error instanceof DomainError) throw error;
    throw temporalAway(error);
  }
}

/** Temporal answers by what it has, so it must have this version. */
async function requireShown(client: Client, row: ScheduleRow): Promise<void> {
  if ((await nextTimes(client, row, 0)) !== null) return;
  const { refused } = await mirrorSchedule(client, row, null);
  if (refused !== null) throw new DomainError('conflict', `Temporal refuses the schedule: ${refused}. Change it.`);
  if ((await untilShown(client, row)) === null) throw new Error('Temporal does not show the schedule yet.');
}

function badRange(path: string, message: string): DomainError {
  return new DomainError('invalid-request', `${path}: ${message}.`, [{ path, message }]);
}

function temporalAway(cause?: unknown): HttpError {
  const message = 'Temporal, which computes the times, does not answer. Nothing was started; try again in a moment.';
  const error = new HttpError('unavailable', message, { 'retry-after': '2' });
  error.cause = cause;
  return error;
}

function instantCursor(cursor: string | undefined): string | null {
  const text = textCursor(cursor);
  if (text === null || !Number.isNaN(Date.parse(text))) return text;
  const message = 'The cursor does not belong to this list. Start without one.';
  throw new DomainError('invalid-request', message, [{ path: 'query.cursor', message }]);
}

function unique(texts: readonly string[]): string[] {
  return [...new Set(texts)];
}
