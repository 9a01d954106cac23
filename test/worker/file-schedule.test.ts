// The schedule that a project's assay.yaml declares, as real runs of its commits resolve it.
import { and, eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { getSchedule, pauseSchedule } from '#db/schedules.ts';
import { runs } from '#db/schema/runs.ts';
import { schedules } from '#db/schema/schedules.ts';
import { until } from '../support/stack.ts';
import { startTestWorkers, type TestWorkers } from '../support/workers.ts';

let workers: TestWorkers;

beforeAll(async () => {
  workers = await startTestWorkers();
});

afterAll(async () => {
  await workers.stop();
});

const file = (schedule: string | null) => ({
  'assay.yaml': `stages: { train: { command: 'true' } }\n${schedule === null ? '' : `triggers: { schedule: ${schedule} }\n`}`,
});

/** Commits are ordered by their time, which has no parts of a second. */
async function nextSecond(): Promise<void> {
  const now = Math.floor(Date.now() / 1000);
  await until(() => Math.floor(Date.now() / 1000) > now);
}

async function run(projectId: string, commit: string, values: Partial<typeof runs.$inferInsert> = {}): Promise<void> {
  const id = await workers.submit(projectId, commit, { branch: 'main', ...values });
  expect((await workers.finished(id)).status).toBe('succeeded');
}

async function commitAndRun(projectId: string, schedule: string | null): Promise<string> {
  await nextSecond();
  const commit = await workers.commitFiles(projectId, file(schedule));
  await run(projectId, commit);
  return commit;
}

async function found(projectId: string) {
  const [row] = await workers.db
    .select({ id: schedules.id })
    .from(schedules)
    .where(and(eq(schedules.projectId, projectId), eq(schedules.isFromFile, true)));
  return row === undefined ? undefined : await getSchedule(workers.db, row.id);
}

describe('the schedule of a project file', () => {
  it('is made, changed and removed by the newest commit of the default branch, and a pause stays', async () => {
    const { projectId, commit: first } = await workers.createProject('from-file', file('"0 3 * * *"'));
    await run(projectId, first);
    const made = await found(projectId);
    expect(made).toMatchObject({
      name: 'assay.yaml',
      cron: '0 3 * * *',
      timezone: 'UTC',
      overlap: 'skip',
      catchUpSeconds: 3_600,
      ref: null,
      owner: 'ada',
      deletedAt: null,
    });
    await run(projectId, first);
    expect(await found(projectId)).toEqual(made);

    await pauseSchedule(workers.db, made?.id ?? '', 'grace', 'holiday');
    await commitAndRun(
      projectId,
      '{ cron: "0 4 * * mon", timezone: Europe/Berlin, overlap: cancel-previous, catchup: 2h, branch: next }',
    );
    expect(await found(projectId)).toMatchObject({
      id: made?.id,
      cron: '0 4 * * mon',
      timezone: 'Europe/Berlin',
      overlap: 'cancel-previous',
      catchUpSeconds: 7_200,
      ref: 'next',
      pausedBy: 'grace',
      pauseNote: 'holiday',
    });

    await run(projectId, first);
    expect((await found(projectId))?.cron).toBe('0 4 * * mon');

    await commitAndRun(projectId, null);
    expect((await found(projectId))?.deletedAt).not.toBeNull();

    await commitAndRun(projectId, '"@daily"');
    expect(await found(projectId)).toMatchObject({ id: made?.id, cron: '@daily', deletedAt: null, pausedBy: 'grace' });
  });

  it('is not touched by another branch or by a command of its own', async () => {
    const { projectId, commit } = await workers.createProject('elsewhere', file('"0 3 * * *"'));
    await run(projectId, commit, { branch: 'try' });
    await run(projectId, commit, { branch: null });
    await run(projectId, commit, { command: ['true'] });
    expect(await found(projectId)).toBeUndefined();
  });
});
