// Schedules over the API, with a real Temporal that computes their times.
import { randomUUID } from 'node:crypto';
import type { Client } from '@temporalio/client';
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Page } from '#api/paging.ts';
import type { RunSummary } from '#contract/runs.ts';
import type { Schedule, Tick } from '#contract/schedules.ts';
import { audit } from '#db/schema/audit.ts';
import { projects } from '#db/schema/projects.ts';
import { runs } from '#db/schema/runs.ts';
import { schedules } from '#db/schema/schedules.ts';
import { mirrorId } from '#schedules/mirror.ts';
import { insertSchedule, missingCommit } from '../support/schedules.ts';
import { createTemporalClient } from '../support/temporal-client.ts';
import { createTestApi, refusal, type TestApi } from './server.ts';

let api: TestApi;
let temporal: Client | null;
let client: Client;

beforeAll(async () => {
  client = await createTemporalClient();
  temporal = client;
  api = await createTestApi({ temporal: () => temporal });
});

afterAll(async () => {
  await api.close();
  await client.connection.close();
});

async function withProject(): Promise<string> {
  const { name } = await api.project();
  return `/projects/${name}/schedules`;
}

const create = async (path: string, body: object) =>
  await api.call<Schedule>('POST', path, { body: { name: 'nightly', cron: '0 3 * * *', ref: missingCommit, ...body } });

describe('a schedule', () => {
  it('is shown in words, with its next five times in its own zone and in UTC', async () => {
    const path = await withProject();
    const made = await create(path, { cron: '30 2 * * 1-5', timezone: 'Europe/Berlin', params: { lr: 0.1 } });
    expect(made.status).toBe(201);
    expect(made.headers.location).toBe(`/api/v1${path}/nightly`);
    expect(made.body).toMatchObject({
      words: 'At 02:30, Monday through Friday (Europe/Berlin)',
      overlap: 'skip',
      catchUpSeconds: 3_600,
      owner: 'ml@example.org',
      source: 'person',
      paused: null,
      params: { lr: 0.1 },
      lastTick: null,
    });
    expect(made.body.next).toHaveLength(5);
    for (const { at, local } of made.body.next ?? []) {
      expect(local).toMatch(/T02:30:00\+0[12]:00$/);
      expect(new Date(local).toISOString()).toBe(at);
    }
    expect((await api.call('GET', `${path}/nightly`)).body).toEqual(made.body);
    expect((await api.call<Page<Schedule>>('GET', path)).body.items).toEqual([made.body]);
  });

  it('is made once however often the request arrives', async () => {
    const path = await withProject();
    const body = { name: 'nightly', cron: '@daily' };
    const headers = { 'idempotency-key': randomUUID() };
    const [first, second] = [
      await api.call<Schedule>('POST', path, { body, headers }),
      await api.call<Schedule>('POST', path, { body, headers }),
    ];
    expect([first.status, second.status, second.body.id]).toEqual([201, 201, first.body.id]);
    expect(refusal(await create(path, {}))).toEqual({ status: 409, code: 'conflict' });
    expect(refusal(await create(path, { name: 'assay.yaml' }))).toEqual({ status: 409, code: 'conflict' });
  });

  it.each([
    [{ cron: '0 3 * *' }, 'found "0 3 * *", expected a cron expression of five fields'],
    [{ cron: '0 3 31 2 *' }, 'found "0 3 31 2 *", expected a date that some year has; this one never comes'],
    [{ timezone: 'Mars/Olympus' }, 'found "Mars/Olympus", expected a time zone by its exact name'],
    [{ timezone: 'europe/berlin' }, 'expected a time zone by its exact name'],
    [{ overlap: 'queue' }, 'expected one of "skip"|"allow"|"cancel-previous"'],
    [{ catchUpSeconds: 5 }, 'expected number to be >=60'],
    [{ priority: 9 }, 'expected one of 1|2|3|4|5'],
  ])('like %j is refused with what was found and expected', async (body, words) => {
    const answer = await create(await withProject(), body);
    expect(refusal(answer)).toEqual({ status: 400, code: 'invalid-request' });
    expect(answer.text).toContain(JSON.stringify(words).slice(1, -1));
  });

  it('of a reference that git would read as an option is refused', async () => {
    expect(refusal(await create(await withProject(), { ref: '--all' }))).toMatchObject({ code: 'invalid-reference' });
  });

  it('is changed, paused with a note, resumed and deleted, and each is on record', async () => {
    const path = await withProject();
    const { id } = (await create(path, {})).body;
    const changed = await api.call<Schedule>('PATCH', `${path}/nightly`, {
      body: { cron: '0 4 * * *', tags: ['a', 'a'] },
    });
    expect(changed.body).toMatchObject({ words: 'At 04:00 (UTC)', tags: ['a'] });
    expect(changed.body.next?.[0]?.local).toContain('T04:00:00');
    const paused = await api.call<Schedule>('POST', `${path}/nightly/pause`, { body: { note: 'new data' } });
    expect(paused.body.paused).toMatchObject({ by: 'ml@example.org', note: 'new data' });
    expect((await client.schedule.getHandle(mirrorId(id)).describe()).state.paused).toBe(true);
    const resumed = await api.call<Schedule>('POST', `${path}/nightly/resume`);
    expect(resumed.body.paused).toBeNull();
    expect((await api.call('DELETE', `${path}/nightly`)).status).toBe(204);
    expect(refusal(await api.call('GET', `${path}/nightly`))).toEqual({ status: 404, code: 'not-found' });
    await expect(client.schedule.getHandle(mirrorId(id)).describe()).rejects.toThrow(/not found/);
    const recorded = await api.db.select().from(audit).where(eq(audit.target, id)).orderBy(audit.id);
    expect(recorded.map(({ action }) => action.replace('schedule.', ''))).toEqual([
      'create',
      'change',
      'pause',
      'resume',
      'delete',
    ]);
    expect((await create(path, {})).status).toBe(201);
  });

  it('is taken while Temporal is away, and its times are shown once they are known', async () => {
    const path = await withProject();
    temporal = null;
    const made = await create(path, {});
    const triggered = await api.call<RunSummary>('POST', `${path}/nightly/trigger`);
    const times = await api.call('GET', `${path}/nightly/times?from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z`);
    temporal = client;
    expect([made.status, made.body.next, triggered.status]).toEqual([201, null, 201]);
    expect(refusal(times)).toEqual({ status: 503, code: 'unavailable' });
    expect((await api.call<Schedule>('GET', `${path}/nightly`)).body.next).toBeNull();
    expect(
      (await api.call<Schedule>('PATCH', `${path}/nightly`, { body: { overlap: 'allow' } })).body.next,
    ).toHaveLength(5);
  });

  it('of a project file can be paused and triggered, and is changed only there', async () => {
    const { id: projectId, name } = await api.project();
    await insertSchedule(api.db, projectId, { name: 'assay.yaml', isFromFile: true });
    const path = `/projects/${name}/schedules/assay.yaml`;
    expect((await api.call<Schedule>('GET', path)).body.source).toBe('file');
    expect(refusal(await api.call('PATCH', path, { body: { cron: '@daily' } }))).toMatchObject({ code: 'conflict' });
    expect(refusal(await api.call('DELETE', path))).toMatchObject({ code: 'conflict' });
    expect((await api.call('POST', `${path}/pause`, { body: {} })).status).toBe(200);
    expect((await api.call('POST', `${path}/trigger`)).status).toBe(201);
  });

  it('belongs to a project with room for a hundred', async () => {
    const { id: projectId, name } = await api.project();
    for (let n = 0; n < 100; n += 1) await insertSchedule(api.db, projectId, { name: `s${n}` });
    expect(refusal(await create(`/projects/${name}/schedules`, {}))).toEqual({ status: 409, code: 'conflict' });
    await api.db.delete(schedules).where(eq(schedules.projectId, projectId));
  });
});

describe('a run of a schedule', () => {
  it('is started by hand also while it is paused, once per request, and shows what started it', async () => {
    const path = await withProject();
    await create(path, { priority: 1, experiment: 'nightlies' });
    await api.call('POST', `${path}/nightly/pause`, { body: {} });
    const headers = { 'idempotency-key': randomUUID() };
    const first = await api.call<RunSummary>('POST', `${path}/nightly/trigger`, { headers });
    const again = await api.call<RunSummary>('POST', `${path}/nightly/trigger`, { headers });
    expect(first.status).toBe(201);
    expect(again.body.id).toBe(first.body.id);
    expect(first.body).toMatchObject({
      experiment: 'nightlies',
      trigger: { kind: 'schedule', schedule: 'nightly', nominalAt: first.body.asOf },
    });
    const ticks = await api.call<Page<Tick>>('GET', `${path}/nightly/ticks`);
    expect(ticks.body.items).toMatchObject([{ origin: 'hand', run: first.body.id, runLabel: first.body.label }]);
    const shown = await api.call<RunSummary>('GET', `/runs/${first.body.id}`);
    expect(shown.body.trigger).toEqual(first.body.trigger);
  });

  it('takes the newest commit of its branch where the project has no remote, and says when there is none', async () => {
    const { id: projectId, name } = await api.project();
    const path = `/projects/${name}/schedules`;
    await create(path, { ref: 'main' });
    const refused = await api.call('POST', `${path}/nightly/trigger`);
    expect(refusal(refused)).toEqual({ status: 409, code: 'conflict' });
    expect(refused.text).toContain('has no commit of main; submit a run from that branch first');
    const values = { projectId, number: 90, owner: 'ada', ref: 'main', asOf: '2026-01-01T00:00:00Z', overrides: {} };
    const newest = { ...values, id: randomUUID(), number: 91, branch: 'main', commit: 'b'.repeat(40) };
    await api.db
      .insert(runs)
      .values([
        { ...values, id: randomUUID(), branch: 'main', commit: 'a'.repeat(40) },
        newest,
        { ...newest, id: randomUUID(), number: 92, commit: 'c'.repeat(40), dirty: true },
        { ...newest, id: randomUUID(), number: 93, commit: 'd'.repeat(40), branch: 'other' },
      ]);
    await api.db.update(runs).set({ submittedAt: new Date() }).where(eq(runs.id, newest.id));
    const started = await api.call<RunSummary>('POST', `${path}/nightly/trigger`);
    expect(started.body).toMatchObject({ ref: 'main', branch: 'main', commit: 'b'.repeat(40) });
    await api.db.update(projects).set({ remoteUrl: 'https://example.org/a.git' }).where(eq(projects.id, projectId));
    const fetched = await api.call<RunSummary>('POST', `${path}/nightly/trigger`);
    expect(fetched.body).toMatchObject({ ref: 'main', branch: null, commit: null });
  });
});

describe('a backfill', () => {
  const spring = { from: '2026-03-28T00:00:00Z', to: '2026-03-31T00:00:00Z' };

  it('shows first and then starts a run for each time of a range, by the clocks of the zone', async () => {
    const path = await withProject();
    await create(path, { cron: '30 2 * * *', timezone: 'Europe/Berlin' });
    const preview = `${path}/nightly/times?from=${spring.from}&to=${spring.to}`;
    type Times = { items: Array<{ at: string; local: string; tick: Tick | null }> };
    const before = await api.call<Times>('GET', preview);
    expect(before.body.items).toEqual([
      { at: '2026-03-28T01:30:00.000Z', local: '2026-03-28T02:30:00+01:00', tick: null },
      { at: '2026-03-30T00:30:00.000Z', local: '2026-03-30T02:30:00+02:00', tick: null },
    ]);
    const filled = await api.call<{ items: Array<{ run: string; repeated: boolean }> }>(
      'POST',
      `${path}/nightly/backfill`,
      {
        body: spring,
      },
    );
    expect(filled.status).toBe(201);
    expect(filled.body.items).toMatchObject([{ repeated: false }, { repeated: false }]);
    const again = await api.call<typeof filled.body>('POST', `${path}/nightly/backfill`, { body: spring });
    expect(again.body.items.map(({ run }) => run)).toEqual(filled.body.items.map(({ run }) => run));
    expect(again.body.items).toMatchObject([{ repeated: true }, { repeated: true }]);
    const run = await api.call<RunSummary>('GET', `/runs/${filled.body.items[0]?.run}`);
    expect(run.body.asOf).toBe('2026-03-28T01:30:00.000000Z');
    const after = await api.call<Times>('GET', preview);
    expect(after.body.items.map(({ tick }) => tick?.origin)).toEqual(['backfill', 'backfill']);
  });

  it('takes both ends of its range', async () => {
    const path = await withProject();
    await create(path, { cron: '0 * * * *' });
    const range = 'from=2026-10-25T00:00:00Z&to=2026-10-25T02:00:00Z';
    const times = await api.call<{ items: Array<{ local: string }> }>('GET', `${path}/nightly/times?${range}`);
    expect(times.body.items.map(({ local }) => local.slice(11))).toEqual([
      '00:00:00+00:00',
      '01:00:00+00:00',
      '02:00:00+00:00',
    ]);
  });

  it.each([
    [{ from: '2026-03-02T00:00:00Z', to: '2026-03-01T00:00:00Z' }, 'expected an instant that is not before'],
    [{ from: '2026-03-01T00:00:00Z', to: '2100-01-01T00:00:00Z' }, 'not in the future'],
    [{ from: '2026-01-01T00:00:00Z', to: '2026-06-01T00:00:00Z' }, 'found 151 times from'],
  ])('over %j is refused', async (body, words) => {
    const path = await withProject();
    await create(path, { cron: '0 3 * * *' });
    const answer = await api.call('POST', `${path}/nightly/backfill`, { body });
    expect(refusal(answer)).toEqual({ status: 400, code: 'invalid-request' });
    expect(answer.text).toContain(words);
    expect((await api.call<Page<Tick>>('GET', `${path}/nightly/ticks`)).body.items).toEqual([]);
  });

  it('is all or nothing', async () => {
    const path = await withProject();
    await create(path, { ref: 'main' });
    expect(refusal(await api.call('POST', `${path}/nightly/backfill`, { body: spring }))).toMatchObject({
      code: 'conflict',
    });
    expect((await api.call<Page<Tick>>('GET', `${path}/nightly/ticks`)).body.items).toEqual([]);
  });
});

it('of another project are answered as if they did not exist', async () => {
  const path = await withProject();
  await create(path, {});
  const other = await api.token({ role: 'ml', projectId: (await api.project()).id });
  for (const method of ['GET', 'DELETE'] as const)
    expect(refusal(await api.call(method, `${path}/nightly`, { token: other }))).toMatchObject({ status: 404 });
});
