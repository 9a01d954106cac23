import { randomUUID } from 'node:crypto';
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Hook, IssuedHook } from '#contract/hooks.ts';
import type { Project } from '#contract/projects.ts';
import { audit } from '#db/schema/audit.ts';
import { hookSecrets } from '#db/schema/hooks.ts';
import { createTestApi, refusal, type TestApi } from './server.ts';

let api: TestApi;
beforeAll(async () => {
  api = await createTestApi();
});
afterAll(() => api.close());

const create = (name: string, headers: Record<string, string> = {}) =>
  api.call<IssuedHook>('POST', `/projects/${name}/hook`, { headers });

test('a webhook is made once, shows its secret once, and is stored sealed', async () => {
  const { id, name } = await api.project();
  const made = await create(name);
  expect(made.status).toBe(201);
  expect(made.body.secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
  expect(made.body.urls.gitlab).toBe(`http://localhost:7410/api/v1/hooks/gitlab/${name}`);
  const shown = await api.call<Hook>('GET', `/projects/${name}/hook`);
  expect(shown.body).toMatchObject({ createdBy: 'ml@example.org', previousUntil: null, polledAt: null });
  expect(refusal(await create(name))).toEqual({ status: 409, code: 'conflict' });
  const stored = await api.db.select().from(hookSecrets).where(eq(hookSecrets.projectId, id));
  const records = await api.db.select().from(audit).where(eq(audit.target, id));
  const texts = [shown.text, JSON.stringify(records), ...stored.map((row) => row.sealed!.toString('latin1'))];
  for (const text of texts) expect(text).not.toContain(made.body.secret.slice(6, 30));
  expect(records.map((record) => record.action)).toEqual(['hook.create']);
});

test('a repeated creation or rotation gives a fresh secret of the same version', async () => {
  const { id, name } = await api.project();
  const headers = { 'idempotency-key': randomUUID() };
  const [first, again] = [await create(name, headers), await create(name, headers)];
  expect(again.status).toBe(201);
  expect(again.body.secret).not.toBe(first.body.secret);
  const rotation = { headers: { 'idempotency-key': randomUUID() } };
  const rotated = await api.call<IssuedHook>('POST', `/projects/${name}/hook/rotate`, rotation);
  await api.call('POST', `/projects/${name}/hook/rotate`, rotation);
  const versions = await api.db.select().from(hookSecrets).where(eq(hookSecrets.projectId, id));
  expect(versions.map((row) => row.version).toSorted((a, b) => a - b)).toEqual([1, 2]);
  const hours = (Date.parse(rotated.body.previousUntil ?? '') - Date.now()) / 3_600_000;
  expect(hours).toBeGreaterThan(23);
  expect(hours).toBeLessThan(25);
});

test('ten creations at once make one webhook', async () => {
  const { name } = await api.project();
  const answers = await Promise.all(Array.from({ length: 10 }, () => create(name)));
  expect(answers.filter((answer) => answer.status === 201)).toHaveLength(1);
  expect(answers.filter((answer) => answer.status === 409)).toHaveLength(9);
});

test('without a webhook there is none to show, rotate or remove, and after removal one can be made again', async () => {
  const { name } = await api.project();
  const missing = { status: 404, code: 'not-found' };
  expect(refusal(await api.call('GET', `/projects/${name}/hook`))).toEqual(missing);
  expect(refusal(await api.call('POST', `/projects/${name}/hook/rotate`))).toEqual(missing);
  expect(refusal(await api.call('DELETE', `/projects/${name}/hook`))).toEqual(missing);
  const first = await create(name);
  await api.call('DELETE', `/projects/${name}/hook`);
  expect(refusal(await api.call('GET', `/projects/${name}/hook`))).toEqual(missing);
  expect((await create(name)).body.secret).not.toBe(first.body.secret);
});

test('how a remote is watched is set and taken back', async () => {
  const { name } = await api.project();
  const change = async (body: unknown) => {
    const { status, body: answered } = await api.call<Project>('PATCH', `/projects/${name}`, { body });
    return [status, answered.pollSeconds, answered.hostKind];
  };
  expect(await change({ poll: '10m' })).toEqual([200, 600, null]);
  expect(await change({ hostKind: 'gitea' })).toEqual([200, 600, 'gitea']);
  expect(await change({ poll: 'off' })).toEqual([200, 0, 'gitea']);
  expect(await change({ poll: null, hostKind: null })).toEqual([200, null, null]);
  for (const poll of ['30s', '2d', 'often', '', '-5m', 5]) {
    expect(refusal(await api.call('PATCH', `/projects/${name}`, { body: { poll } }))).toMatchObject({ status: 400 });
  }
  expect((await api.call('PATCH', `/projects/${name}`, { body: { hostKind: 'svn' } })).status).toBe(400);
});
