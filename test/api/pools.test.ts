// Nodes, pools and quotas as the API shows and changes them.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { sql } from 'drizzle-orm';
import type { Node } from '#contract/nodes.ts';
import type { Pool } from '#contract/pools.ts';
import type { Quota } from '#contract/quotas.ts';
import type { Run, RunSummary } from '#contract/runs.ts';
import { nodes } from '#db/schema/nodes.ts';
import { runs } from '#db/schema/runs.ts';
import { steps } from '#db/schema/steps.ts';
import { audit } from '#db/schema/audit.ts';
import { insertRun } from './fixtures.ts';
import { createTestApi, refusal, type TestApi } from './server.ts';

let api: TestApi;
let project: { id: string; name: string };
let asPlatform: { token: string };
const shape = { cpus: 12, memoryGib: 100, accelerator: 'h100', devices: 1 };
const dayMs = 86_400_000;

beforeAll(async () => {
  api = await createTestApi();
  project = await api.project('digits');
  asPlatform = { token: api.tokens.platform };
  const row = (id: string, pool: string, leaseMs: number) => ({
    id,
    pool,
    host: id,
    slots: 2,
    shape,
    devices: ['0', '1'],
    leaseExpiresAt: new Date(Date.now() + leaseMs),
  });
  await api.db
    .insert(nodes)
    .values([row('node-1', 'h100.x1', 600_000), row('node-2', 'h100.x1', -60_000), row('gone', 'old', -8 * dayMs)]);
});
afterAll(() => api.close());

async function insertWaiting(owner: string, values: Partial<typeof runs.$inferInsert> = {}): Promise<string> {
  const id = await insertRun(api, project.id, { status: 'running', values: { owner, ...values } });
  await api.db.execute(
    sql`update runs set status = 'waiting', waiting_reason = 'train waits for a slot in pool h100.x1' where id = ${id}`,
  );
  await api.db.execute(sql`delete from attempts where run_id = ${id}`);
  await api.db
    .update(steps)
    .set({
      status: 'waiting',
      waitsFor: 'slot',
      pool: 'h100.x1',
      waitingSince: new Date(),
      reason: 'waits for a slot in pool h100.x1',
    })
    .where(sql`run_id = ${id}`);
  return id;
}

test('nodes that were not heard of for 7 days are left out unless all are asked for', async () => {
  const listed = await api.call<{ items: Node[] }>('GET', '/nodes', asPlatform);
  expect(listed.body.items.map(({ id }) => id)).toEqual(['node-1', 'node-2']);
  expect(listed.body.items[0]).toMatchObject({ state: 'active', alive: true, devices: ['0', '1'], shape });
  const all = await api.call<{ items: Node[] }>('GET', '/nodes?all=true', asPlatform);
  expect(all.body.items.map(({ id }) => id)).toEqual(['node-1', 'node-2', 'gone']);
});

test('a node is drained and resumed, with who did it and why', async () => {
  const body = { now: true, reason: 'a new disk' };
  const drained = await api.call<Node>('POST', '/nodes/node-1/drain', { ...asPlatform, body });
  expect(drained.body).toMatchObject({
    state: 'draining',
    stateReason: 'a new disk',
    stateBy: 'platform@example.org',
    stopsStages: true,
  });
  const resumed = await api.call<Node>('POST', '/nodes/node-1/resume', asPlatform);
  expect(resumed.body).toMatchObject({ state: 'active', stateReason: null, stopsStages: false });
  const unknown = await api.call('POST', '/nodes/nowhere/drain', { ...asPlatform, body: {} });
  expect(refusal(unknown)).toEqual({ status: 404, code: 'not-found' });
  const actions = (await api.db.select().from(audit)).map(({ action }) => action);
  expect(actions).toEqual(expect.arrayContaining(['node.drain', 'node.resume']));
});

test('looking is not changing: an observer sees nodes and quotas and can change neither', async () => {
  const token = api.tokens.observer;
  expect((await api.call('GET', '/nodes', { token })).status).toBe(200);
  expect((await api.call('GET', '/quotas', { token })).status).toBe(200);
  const drain = await api.call('POST', '/nodes/node-1/drain', { token, body: {} });
  const set = await api.call('PUT', '/quotas/user/ada', { token, body: { runs: 1 } });
  expect([drain.status, set.status]).toEqual([403, 403]);
});

test('a token of one project changes nothing that concerns the others', async () => {
  const token = await api.token({ role: 'platform', projectId: project.id });
  for (const [method, path] of [
    ['POST', '/nodes/node-1/drain'],
    ['PUT', '/quotas/project/digits'],
  ] as const) {
    expect(refusal(await api.call(method, path, { token, body: {} }))).toEqual({ status: 403, code: 'forbidden' });
  }
  expect((await api.call('GET', '/quotas', { token })).status).toBe(403);
});

test('a pool has its shape, its slots and what waits for them', async () => {
  const before = Date.now();
  await insertWaiting('ada');
  const { body } = await api.call<{ items: Pool[] }>('GET', '/pools');
  const [pool] = body.items;
  expect(pool).toMatchObject({ name: 'h100.x1', shape, nodes: 2, nodesActive: 1, slots: 2, slotsUsed: 0, waiting: 1 });
  expect(Date.parse(pool?.oldestWaitingSince ?? '')).toBeGreaterThanOrEqual(before - 1);
});

test('a run that waits says for what and in which place, in lists and on its own', async () => {
  const [ada, grace, urgent] = [
    await insertWaiting('ada'),
    await insertWaiting('grace'),
    await insertWaiting('ada', { priority: 1 }),
  ];
  const listed = await api.call<{ items: RunSummary[] }>('GET', '/runs?status=waiting');
  const reasons = new Map(listed.body.items.map(({ id, waitingReason }) => [id, waitingReason]));
  expect(reasons.get(urgent)).toBe('train waits for a slot in pool h100.x1, about place 1 of 4');
  // The one of the test before is the first of ada; grace takes the turn after it.
  expect(reasons.get(grace)).toBe('train waits for a slot in pool h100.x1, about place 3 of 4');
  const run = await api.call<Run>('GET', `/runs/${ada}`);
  expect(run.body.waitingReason).toBe('train waits for a slot in pool h100.x1, about place 4 of 4');
  const [train] = run.body.steps;
  expect(train).toMatchObject({ waiting: { for: 'slot', pool: 'h100.x1', place: 4, of: 4 } });
});

test('a queue that can not move says what is in its way', async () => {
  const id = await insertWaiting('ada');
  await api.call('POST', '/nodes/node-1/drain', { ...asPlatform, body: { reason: 'a new disk' } });
  const run = await api.call<Run>('GET', `/runs/${id}`);
  expect(run.body.waitingReason).toContain('none of its 2 nodes takes stages: is drained: a new disk; does not answer');
  await api.call('POST', '/nodes/node-1/resume', asPlatform);
});

test('a quota is set, listed with what is used of it, and removed', async () => {
  const set = await api.call<Quota>('PUT', '/quotas/project/digits', { ...asPlatform, body: { runs: 4, devices: 8 } });
  expect(set.body).toMatchObject({ kind: 'project', name: 'digits', runs: 4, stages: null, devices: 8 });
  expect(set.body.used?.runs).toBeGreaterThan(0);
  await api.call('PUT', '/quotas/user/*', { ...asPlatform, body: { stages: 3 } });
  const listed = await api.call<{ items: Quota[] }>('GET', '/quotas', asPlatform);
  expect(listed.body.items.map(({ kind, name, used }) => [kind, name, used === null])).toEqual([
    ['project', 'digits', false],
    ['user', '*', true],
  ]);
  for (const path of ['/quotas/project/digits', '/quotas/user/*'])
    expect((await api.call('DELETE', path, asPlatform)).status).toBe(204);
  expect(refusal(await api.call('DELETE', '/quotas/user/*', asPlatform)).code).toBe('not-found');
  const unknown = await api.call('PUT', '/quotas/project/nowhere', { ...asPlatform, body: {} });
  expect(refusal(unknown)).toEqual({ status: 404, code: 'not-found' });
});

test('a run that waits for its quota says so while it is queued', async () => {
  await api.call('PUT', '/quotas/project/digits', { ...asPlatform, body: { runs: 0 } });
  const id = await insertRun(api, project.id, { status: 'queued' });
  const run = await api.call<Run>('GET', `/runs/${id}`);
  expect(run.body.waitingReason).toMatch(
    /^waits for quota: it asks for 1 run, and project digits may have 0, about place 1 of 1$/,
  );
  await api.call('DELETE', '/quotas/project/digits', asPlatform);
});

test('a submit takes a priority from 1 to 5', async () => {
  const submitted = await api.call<RunSummary>('POST', '/projects/digits/runs', { body: { ref: 'main', priority: 1 } });
  expect(submitted.body).toMatchObject({ priority: 1 });
  const usual = await api.call<RunSummary>('POST', '/projects/digits/runs', { body: { ref: 'main' } });
  expect(usual.body).toMatchObject({ priority: 3 });
  const wrong = await api.call('POST', '/projects/digits/runs', { body: { ref: 'main', priority: 6 } });
  expect(refusal(wrong)).toEqual({ status: 400, code: 'invalid-request' });
});
