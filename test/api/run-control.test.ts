import { eq, sql } from 'drizzle-orm';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { WorkflowNotFoundError, WorkflowUpdateFailedError } from '@temporalio/client';
import type { ApiDeps } from '#api/deps.ts';
import type { Run, RunSummary } from '#contract/runs.ts';
import { takeForDispatch } from '#db/dispatch.ts';
import { runs } from '#db/schema/runs.ts';
import { createTestApi, refusal, type TestApi } from './server.ts';
import { insertAttempt, insertRun } from './fixtures.ts';

type TemporalClient = NonNullable<ReturnType<ApiDeps['temporal']>>;

let api: TestApi;
let project: { id: string; name: string };
/** What was asked of Temporal, and how it answers: the seam of the client, as a plain object. */
const asked: string[] = [];
let answer: (() => unknown) | null = () => undefined;

beforeAll(async () => {
  const reply = async (question: string) => {
    asked.push(question);
    await answer?.();
  };
  const workflow = {
    getHandle: (id: string) => ({
      cancel: () => reply(`cancel ${id}`),
      executeUpdate: (name: string, options: { args: unknown[] }) =>
        reply(`${name} ${id} ${JSON.stringify(options.args)}`),
    }),
  };
  const client = { workflow, withDeadline: async (_deadline: number, use: () => Promise<unknown>) => await use() };
  api = await createTestApi({ temporal: () => (answer === null ? null : (client as unknown as TemporalClient)) });
  project = await api.project('control');
});
afterAll(() => api.close());

const post = (path: string, body?: unknown, headers: Record<string, string> = {}) =>
  api.call<RunSummary>('POST', path, { ...(body === undefined ? {} : { body }), headers });

test('a run that nobody took is cancelled at once, and no dispatcher takes it afterwards', async () => {
  const id = await insertRun(api, project.id, { status: 'queued' });
  asked.length = 0;
  const cancelled = await post(`/runs/${id}/cancel`);
  expect(cancelled.status).toBe(202);
  expect(cancelled.body).toMatchObject({ status: 'cancelled', actions: ['resume'] });
  expect(asked).toEqual([]);
  expect(await takeForDispatch(api.db, { max: 10, staleMs: 1000 })).toEqual([]);
});

test('a running run gets the request stored and Temporal told; asking twice changes nothing', async () => {
  const id = await insertRun(api, project.id, { status: 'running' });
  asked.length = 0;
  expect((await post(`/runs/${id}/cancel`)).body.status).toBe('running');
  expect((await post(`/runs/${id}/cancel`)).status).toBe(202);
  expect(asked).toEqual([`cancel ${id}.1`, `cancel ${id}.1`]);
  const run = await api.call<Run>('GET', `/runs/${id}`);
  expect(run.body).toMatchObject({ cancelRequestedBy: 'ml@example.org' });
  const records = await api.db.execute(
    sql`select count(*)::int n from audit where target = ${id} and action = 'run.cancel'`,
  );
  expect(records.rows[0]).toEqual({ n: 1 });
});

test('cancel is accepted while Temporal is away or does not know the workflow', async () => {
  for (const trouble of [null, () => Promise.reject(new Error('unavailable'))]) {
    answer = trouble;
    const id = await insertRun(api, project.id, { status: 'running' });
    expect((await post(`/runs/${id}/cancel`)).status).toBe(202);
  }
  answer = () => {
    throw new WorkflowNotFoundError('gone', 'x', undefined);
  };
  const id = await insertRun(api, project.id, { status: 'running' });
  expect((await post(`/runs/${id}/cancel`)).status).toBe(202);
  answer = () => undefined;
});

test('cancel races dispatch: a run is cancelled at once or handed to its execution, never lost', async () => {
  const ids = await Promise.all(Array.from({ length: 12 }, () => insertRun(api, project.id, { status: 'queued' })));
  const [taken, ...cancels] = await Promise.all([
    takeForDispatch(api.db, { max: 50, staleMs: 60_000 }),
    ...ids.map((id) => post(`/runs/${id}/cancel`)),
  ]);
  expect(cancels.map((cancel) => cancel.status)).toEqual(ids.map(() => 202));
  for (const id of ids) {
    const [row] = await api.db.select().from(runs).where(eq(runs.id, id));
    expect(row?.cancelRequestedAt).not.toBeNull();
    const isTaken = taken.some((execution) => execution.runId === id);
    expect(row?.status).toBe(isTaken ? 'queued' : 'cancelled');
  }
});

test('a finished run can not be cancelled', async () => {
  const id = await insertRun(api, project.id);
  expect(refusal(await post(`/runs/${id}/cancel`))).toEqual({ status: 409, code: 'run-finished' });
  expect(refusal(await post('/runs/control%2F99/cancel'))).toEqual({ status: 404, code: 'not-found' });
});

test('a decision reaches the workflow with the person who made it', async () => {
  const id = await insertRun(api, project.id, { status: 'needs-attention' });
  asked.length = 0;
  expect((await post(`/runs/${id}/resolve`, { action: 'retry' })).status).toBe(202);
  expect(asked).toEqual([`resolve ${id}.1 [{"action":"retry","by":"ml@example.org"}]`]);
});

test('a decision that can not be taken is refused and nothing is recorded', async () => {
  const running = await insertRun(api, project.id, { status: 'running' });
  expect(refusal(await post(`/runs/${running}/resolve`, { action: 'abort' }))).toEqual({
    status: 409,
    code: 'conflict',
  });
  const id = await insertRun(api, project.id, { status: 'needs-attention' });
  expect(refusal(await post(`/runs/${id}/resolve`, { action: 'maybe' }))).toMatchObject({ status: 400 });
  answer = () => {
    throw new WorkflowUpdateFailedError('refused', new Error('The run does not wait for a decision.'));
  };
  expect(refusal(await post(`/runs/${id}/resolve`, { action: 'retry' }))).toEqual({ status: 409, code: 'conflict' });
  for (const trouble of [null, () => Promise.reject(new Error('DEADLINE_EXCEEDED'))]) {
    answer = trouble;
    expect(refusal(await post(`/runs/${id}/resolve`, { action: 'retry' }))).toEqual({
      status: 503,
      code: 'unavailable',
    });
  }
  answer = () => undefined;
  const records = await api.db.execute(sql`select count(*)::int n from audit where target = ${id}`);
  expect(records.rows[0]).toEqual({ n: 0 });
});

test('a run is shown with executions, steps, attempts, links and the actions it allows, by id and by label', async () => {
  const id = await insertRun(api, project.id, { status: 'running', values: { params: { lr: 1 }, note: 'a note' } });
  await insertAttempt(api, id, 'train', 2, 'running');
  const byId = await api.call<Run>('GET', `/runs/${id}`);
  expect(byId.body).toMatchObject({
    status: 'running',
    params: { lr: 1 },
    note: 'a note',
    actions: ['cancel'],
    executions: [{ n: 1, workflowId: `${id}.1`, url: expect.stringContaining(`/namespaces/assay/workflows/${id}.1`) }],
    steps: [
      {
        name: 'train',
        status: 'running',
        attempts: [
          { attempt: 1, hardware: { cpuModel: 'AMD EPYC', logicalCores: 16, gpus: [] } },
          { attempt: 2, status: 'running' },
        ],
      },
    ],
    versions: [],
  });
  const byLabel = await api.call<Run>('GET', `/runs/${encodeURIComponent(byId.body.label)}`);
  expect(byLabel.body.id).toBe(id);
});

test('name, note and tags can be changed, and nothing else', async () => {
  const id = await insertRun(api, project.id);
  const changed = await api.call<RunSummary>('PATCH', `/runs/${id}`, {
    body: { name: 'best', tags: ['keep'], note: null },
  });
  expect(changed.body).toMatchObject({ name: 'best', tags: ['keep'] });
  expect(refusal(await api.call('PATCH', `/runs/${id}`, { body: { status: 'failed' } }))).toMatchObject({
    status: 400,
  });
  expect(refusal(await api.call('PATCH', `/runs/${project.id}`, { body: {} }))).toMatchObject({ status: 404 });
});
