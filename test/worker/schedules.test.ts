// Schedules over a real Temporal: what it is told, what it fires, and what becomes of each tick.
import { ScheduleNotFoundError, ScheduleOverlapPolicy } from '@temporalio/client';
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { requestCancel } from '#db/runs.ts';
import { backfill, takeTick } from '#db/schedule-ticks.ts';
import { createSchedule, deleteSchedule, pauseSchedule, resumeSchedule } from '#db/schedules.ts';
import { schedules } from '#db/schema/schedules.ts';
import { mirrorId } from '#schedules/mirror.ts';
import {
  changeScheduleRow,
  insertProject,
  insertSchedule,
  isoOf,
  missingCommit,
  runsOf,
  ticksOf,
} from '../support/schedules.ts';
import { until } from '../support/stack.ts';
import { startTestWorkers, type TestWorkers } from '../support/workers.ts';

let workers: TestWorkers;

beforeAll(async () => {
  // Most of what is tested here waits for a reconciler's next pass, so the tests wait side by side.
  workers = await startTestWorkers({ slots: 4 });
});

afterAll(async () => {
  await workers.stop();
});

const handleOf = (id: string) => workers.client.schedule.getHandle(mirrorId(id));
const take = (scheduleId: string, nominalAt: string) => takeTick(workers.connection.pool, { scheduleId, nominalAt });
const ago = (ms: number) => new Date(Date.now() - ms).toISOString();
const hour = 3_600_000;

const choice = {
  cron: '0 3 * * *',
  timezone: 'Europe/Berlin',
  ref: null,
  overrides: {},
  experiment: 'default',
  tags: [],
  priority: 3,
  overlap: 'skip',
  catchUpSeconds: 3_600,
} as const;

const shows = async (id: string, what: string) => {
  try {
    const { state, spec, policies } = await handleOf(id).describe();
    return JSON.stringify({ state, spec, policies }).includes(what);
  } catch (error) {
    if (error instanceof ScheduleNotFoundError) return false;
    throw error;
  }
};

const isGone = async (id: string) =>
  await handleOf(id)
    .describe()
    .then(() => false)
    .catch((error: unknown) => error instanceof ScheduleNotFoundError);

describe.concurrent("Temporal's schedule", () => {
  it('follows the row: made, changed, paused, resumed and deleted, without anybody telling it', async () => {
    const projectId = await insertProject(workers.db);
    const wanted = { ...choice, tags: [], projectId, name: 'nightly', owner: 'ada' };
    const id = await createSchedule(workers.db, wanted, null);
    await until(() => shows(id, 'Version 1 of'));
    const made = await handleOf(id).describe();
    expect(made.policies).toMatchObject({ overlap: 'ALLOW_ALL', catchupWindow: hour });
    expect(made.spec.timezone).toBe('Europe/Berlin');
    await pauseSchedule(workers.db, id, 'grace', 'holiday');
    await until(() => shows(id, 'Paused by grace: holiday'));
    expect((await handleOf(id).describe()).state.paused).toBe(true);
    await resumeSchedule(workers.db, id, 'grace');
    await until(() => shows(id, 'Version 3 of'));
    expect((await handleOf(id).describe()).state.paused).toBe(false);
    await deleteSchedule(workers.db, id, 'grace');
    await until(() => isGone(id));
  });

  it('is put back when somebody pauses or deletes it in Temporal', async () => {
    const id = await insertSchedule(workers.db, await insertProject(workers.db));
    await until(() => shows(id, 'Version 1 of'));
    await handleOf(id).pause('by hand');
    await until(() => shows(id, '"paused":false,"note":"Version 1 of'));
    await handleOf(id).delete();
    await until(() => shows(id, 'Version 1 of'));
    expect((await handleOf(id).describe()).state.paused).toBe(false);
  });

  it('that Temporal refuses is marked with its words and does not keep others from theirs', async () => {
    const projectId = await insertProject(workers.db);
    const bad = await insertSchedule(workers.db, projectId, { timezone: 'Europe/BERLIN' });
    const good = await insertSchedule(workers.db, projectId, { name: 'other' });
    await until(() => shows(good, 'Version 1 of'));
    const trouble = async () =>
      (await workers.db.select().from(schedules).where(eq(schedules.id, bad)))[0]?.trouble ?? null;
    await until(async () => (await trouble()) !== null);
    expect(await trouble()).toContain('Europe/BERLIN');
    await deleteSchedule(workers.db, bad, 'ada');
  });
});

describe.concurrent('a tick of the clock', () => {
  it('starts one run that looks at the data of its own time and says who started it', async () => {
    const projectId = await insertProject(workers.db);
    const id = await insertSchedule(workers.db, projectId, {
      cron: '*/2 * * * * * *',
      activeSince: new Date().toISOString(),
      tags: ['tick'],
      priority: 2,
    });
    await until(async () => (await ticksOf(workers.db, id)).length >= 3);
    await deleteSchedule(workers.db, id, 'ada');
    await until(() => isGone(id));
    const ticks = await ticksOf(workers.db, id);
    const started = ticks.filter(({ run }) => run !== null);
    expect(started.length).toBeGreaterThanOrEqual(3);
    // What was on its way when it was deleted.
    for (const { skipped } of ticks.slice(started.length)) expect(skipped).toBe('the schedule was deleted');
    for (const { nominalAt, run, origin } of started) {
      expect(new Date(nominalAt).getUTCSeconds() % 2).toBe(0);
      expect(new Date(nominalAt).getUTCMilliseconds()).toBe(0);
      expect(origin).toBe('clock');
      expect(isoOf(run?.asOf ?? '')).toBe(nominalAt);
      expect(run).toMatchObject({
        owner: 'ada',
        tags: ['tick'],
        priority: 2,
        ref: missingCommit,
        trigger: { kind: 'schedule', schedule: 'nightly', nominalAt },
      });
    }
    const [first] = started;
    const workflowId = `${mirrorId(id)}-${(first?.nominalAt ?? '').replace('.000Z', 'Z')}`;
    const described = workers.client.workflow.getHandle(workflowId);
    expect(await described.result()).toEqual({ nominalAt: first?.nominalAt, runId: first?.runId, skipped: null });
    expect((await workers.finished(first?.runId ?? '')).failure?.sentence).toContain(missingCommit.slice(0, 12));
  });

  it('that is delivered many times at once starts one run, and every delivery hears of it', async () => {
    const projectId = await insertProject(workers.db);
    const id = await insertSchedule(workers.db, projectId);
    const nominalAt = ago(60_000);
    const outcomes = await Promise.all(Array.from({ length: 20 }, () => take(id, nominalAt)));
    expect(new Set(outcomes.map(({ runId }) => runId)).size).toBe(1);
    expect(await runsOf(workers.db, projectId)).toHaveLength(1);
  });

  it('whose time has not come by the clock of the database waits for it and is not lost', async () => {
    const projectId = await insertProject(workers.db);
    const id = await insertSchedule(workers.db, projectId);
    await until(() => shows(id, 'Version 1 of'));
    // A backfill into the future fires now what is due in a moment, as a Temporal whose clock is ahead does.
    const start = new Date(Math.ceil(Date.now() / 1000) * 1000 + 2_000);
    const end = new Date(start.getTime() + 3_000);
    await handleOf(id).update((schedule) => ({ ...schedule, spec: { cronExpressions: ['* * * * * * *'] } }));
    await handleOf(id).pause('Version 1 of');
    await handleOf(id).backfill({ start, end, overlap: ScheduleOverlapPolicy.ALLOW_ALL });
    const due = [1, 2].map((second) => new Date(start.getTime() + second * 1000).toISOString());
    await until(async () => {
      const times = (await ticksOf(workers.db, id)).map(({ nominalAt }) => nominalAt);
      return due.every((time) => times.includes(time));
    });
    for (const { nominalAt, run } of await ticksOf(workers.db, id)) {
      expect(isoOf(run?.asOf ?? '')).toBe(nominalAt);
      expect(run?.submittedAt.getTime()).toBeGreaterThanOrEqual(Date.parse(nominalAt));
    }
  });

  // As Temporal computes it.
  it.each([
    [
      'a time that spring leaves out is left out',
      '30 2 * * *',
      'Europe/Berlin',
      ['2026-03-28T00:00:00Z', '2026-03-31T00:00:00Z'],
      ['2026-03-28T01:30:00.000Z', '2026-03-30T00:30:00.000Z'],
    ],
    [
      'of a time that autumn repeats the second counts east of Greenwich',
      '30 2 * * *',
      'Europe/Berlin',
      ['2026-10-24T00:00:00Z', '2026-10-27T00:00:00Z'],
      ['2026-10-24T00:30:00.000Z', '2026-10-25T01:30:00.000Z', '2026-10-26T01:30:00.000Z'],
    ],
    [
      'and both count west of it',
      '30 1 * * *',
      'America/New_York',
      ['2026-11-01T00:00:00Z', '2026-11-02T00:00:00Z'],
      ['2026-11-01T05:30:00.000Z', '2026-11-01T06:30:00.000Z'],
    ],
  ] as const)('follows the clocks of its zone: %s', async (_what, cron, timezone, [start, end], expected) => {
    const id = await insertSchedule(workers.db, await insertProject(workers.db), { cron, timezone });
    await until(() => shows(id, 'Version 1 of'));
    await changeScheduleRow(workers.db, id, { catchUpSeconds: 400 * 86_400 });
    const range = { start: new Date(start), end: new Date(end), overlap: ScheduleOverlapPolicy.ALLOW_ALL };
    await handleOf(id).backfill(range);
    const inRange = async () => (await ticksOf(workers.db, id)).filter(({ nominalAt }) => nominalAt < end);
    await until(async () => (await inRange()).length >= expected.length);
    expect((await inRange()).map(({ nominalAt }) => nominalAt)).toEqual(expected);
    for (const { nominalAt, run } of await inRange()) expect(isoOf(run?.asOf ?? '')).toBe(nominalAt);
  });
});

describe('a tick that starts nothing says why', () => {
  it.each([
    ['paused', { pausedAt: new Date(), pausedBy: 'ada', pauseNote: 'new data' }, 'paused by ada: new data'],
    ['deleted', { deletedAt: new Date() }, 'deleted'],
    ['too late', { catchUpSeconds: 60 }, ' late, and the catch-up window is 1m'],
    [
      'older than the schedule',
      { activeSince: new Date(Date.now() + hour).toISOString() },
      'made, resumed or given other times',
    ],
    ['without a commit', { ref: null }, 'no commit of main'],
  ])('when it is %s', async (_what, values, reason) => {
    const projectId = await insertProject(workers.db);
    const id = await insertSchedule(workers.db, projectId, { ...values });
    const nominalAt = ago(120_000);
    expect((await take(id, nominalAt)).skipped).toContain(reason);
    expect(await ticksOf(workers.db, id)).toMatchObject([{ runId: null, skipped: expect.stringContaining(reason) }]);
    // Once decided it stays, whatever changes.
    await changeScheduleRow(workers.db, id, {
      pausedAt: null,
      deletedAt: null,
      catchUpSeconds: 3_600,
      activeSince: '2026-01-01T00:00:00Z',
      ref: missingCommit,
    });
    expect((await take(id, nominalAt)).skipped).toContain(reason);
    expect(await runsOf(workers.db, projectId)).toEqual([]);
  });

  it('when Assay has no such schedule', async () => {
    expect(await take('01990000-0000-7000-8000-000000000000', ago(1_000))).toMatchObject({ runId: null });
  });
});

describe.concurrent('while a run of the tick before is open', () => {
  const sleeper = { 'train.py': 'import time\ntime.sleep(600)\n' };

  async function openRun(overlap: 'skip' | 'allow' | 'cancel-previous') {
    const { projectId, commit } = await workers.createProject(`overlap-${overlap}`, sleeper);
    const id = await insertSchedule(workers.db, projectId, { overlap, ref: commit });
    const first = await take(id, ago(120_000));
    await workers.until(first.runId ?? '', (run) => run.status === 'running');
    return { id, first: first.runId ?? '', next: await take(id, ago(60_000)), projectId };
  }

  it('skip starts nothing and names the run', async () => {
    const { first, next } = await openRun('skip');
    expect(next.skipped).toBe('overlap-skip/1 of this schedule is still running');
    await cancel(first);
  });

  it('allow starts another', async () => {
    const { first, next } = await openRun('allow');
    expect(next.label).toBe('overlap-allow/2');
    await cancel(first);
    await cancel(next.runId ?? '');
  });

  it('cancel-previous stops it and starts another', async () => {
    const { first, next } = await openRun('cancel-previous');
    expect((await workers.finished(first)).status).toBe('cancelled');
    expect((await workers.load(first)).cancelRequestedBy).toBe('schedule nightly');
    await workers.until(next.runId ?? '', (run) => run.status === 'running');
    await cancel(next.runId ?? '');
  });

  it('runs of a backfill do not count', async () => {
    const projectId = await insertProject(workers.db);
    const id = await insertSchedule(workers.db, projectId, { overlap: 'skip' });
    await backfill(workers.connection.pool, id, [ago(hour)], 'ada');
    expect((await take(id, ago(60_000))).skipped).toBeNull();
  });

  async function cancel(runId: string): Promise<void> {
    await requestCancel(workers.db, runId, 'ada');
    await workers.finished(runId);
  }
});
