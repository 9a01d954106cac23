import { randomUUID } from 'node:crypto';
import { eq, sql } from 'drizzle-orm';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Run, RunSummary } from '#contract/runs.ts';
import { audit } from '#db/schema/audit.ts';
import { checkpointSets, initialCheckpoints } from '#db/schema/checkpoints.ts';
import { projects } from '#db/schema/projects.ts';
import { executions, runs } from '#db/schema/runs.ts';
import { createSubmitter, plainSubmit } from '#db/submit.ts';
import { createTestApi, refusal, type TestApi } from './server.ts';
import { commit, insertRun } from './fixtures.ts';

let api: TestApi;
beforeAll(async () => {
  api = await createTestApi();
});
afterAll(() => api.close());

const submit = (project: string, body: unknown, headers: Record<string, string> = {}) =>
  api.call<RunSummary>('POST', `/projects/${project}/runs`, { body, headers });

test('a submit is a queued run with an execution, an audit record and a location, while Temporal is down', async () => {
  const { name, id } = await api.project('digits');
  const body = { ref: 'main', params: { lr: 0.1 }, name: 'first', tags: ['b', 'a', 'a'], note: 'a note', seed: 3 };
  const answer = await submit(name, body);
  expect(answer.status).toBe(201);
  expect(answer.headers.location).toBe(`/api/v1/runs/${answer.body.id}`);
  expect(answer.body).toMatchObject({
    label: 'digits/1',
    status: 'queued',
    experiment: 'default',
    owner: 'ml@example.org',
    ref: 'main',
    commit: null,
    tags: ['b', 'a'],
    actions: ['cancel'],
  });
  expect(answer.body.asOf).toBe(answer.body.submittedAt);
  const listed = await api.call<{ items: RunSummary[] }>('GET', `/runs?project=${name}`);
  expect(listed.body.items).toEqual([answer.body]);
  expect(answer.body.id[14]).toBe('7');
  const [row] = await api.db.select().from(runs).where(eq(runs.id, answer.body.id));
  expect(row).toMatchObject({ projectId: id, overrides: { lr: 0.1 }, seedAsked: 3, command: null, reuse: true });
  const [execution] = await api.db.select().from(executions).where(eq(executions.runId, answer.body.id));
  expect(execution).toMatchObject({ n: 1, dispatch: 'queued', status: 'queued' });
  const [record] = await api.db.select().from(audit).where(eq(audit.target, answer.body.id));
  expect(record).toMatchObject({ actor: 'ml@example.org', action: 'run.submit', facts: { number: 1 } });
});

test('the default branch is taken when nothing says what to run', async () => {
  const { name } = await api.project();
  expect((await submit(name, {})).body).toMatchObject({ ref: 'main', branch: null, commit: null });
});

test('many submits at once get numbers without gap or repetition', async () => {
  const { name } = await api.project();
  const answers = await Promise.all(Array.from({ length: 60 }, () => submit(name, { ref: 'main' })));
  const numbers = answers.map((answer) => answer.body.number).toSorted((a, b) => a - b);
  expect(numbers).toEqual(Array.from({ length: 60 }, (_, at) => at + 1));
});

test('the same key and body is the same run however often and however concurrently it is sent', async () => {
  const { name } = await api.project();
  const headers = { 'idempotency-key': randomUUID() };
  const answers = await Promise.all(Array.from({ length: 20 }, () => submit(name, { ref: 'main', seed: 1 }, headers)));
  const later = await submit(name, { seed: 1, ref: 'main' }, headers);
  const ids = new Set([...answers, later].map((answer) => answer.body.id));
  expect(ids.size).toBe(1);
  expect(later.status).toBe(201);
  const count = await api.db.execute(
    sql`select count(*)::int n from runs r join projects p on p.id = r.project_id where p.name = ${name}`,
  );
  expect(count.rows[0]).toEqual({ n: 1 });
});

test('the same key with another body, project or caller', async () => {
  const [a, b] = [await api.project(), await api.project()];
  const headers = { 'idempotency-key': randomUUID() };
  const first = await submit(a.name, { ref: 'main' }, headers);
  const conflict = { status: 409, code: 'idempotency-conflict' };
  expect(refusal(await submit(a.name, { ref: 'dev' }, headers))).toEqual(conflict);
  expect(refusal(await submit(b.name, { ref: 'main' }, headers))).toEqual(conflict);
  const token = await api.token({ role: 'ml' });
  const other = await api.call<RunSummary>('POST', `/projects/${a.name}/runs`, {
    token,
    body: { ref: 'main' },
    headers,
  });
  expect(other.status).toBe(201);
  expect(other.body.id).not.toBe(first.body.id);
});

test('a key that was refused can be used again', async () => {
  const { name } = await api.project();
  const headers = { 'idempotency-key': randomUUID() };
  expect((await submit(name, { asOf: '2999-01-01T00:00:00Z' }, headers)).status).toBe(422);
  expect((await submit(name, { ref: 'main' }, headers)).status).toBe(201);
});

test.each([['with space '], ['é'], ['x'.repeat(201)]])('the key %j is refused', async (key) => {
  const { name } = await api.project();
  expect(refusal(await submit(name, {}, { 'idempotency-key': key }))).toEqual({ status: 400, code: 'invalid-request' });
});

test('an as-of is kept to the microsecond, and the future is refused by the server’s clock', async () => {
  const { name } = await api.project();
  const asOf = '2026-01-31T11:22:33.123456+02:00';
  expect((await submit(name, { asOf })).body.asOf).toBe('2026-01-31T09:22:33.123456Z');
  const future = await submit(name, { asOf: new Date(Date.now() + 3_600_000).toISOString() });
  expect(refusal(future)).toEqual({ status: 422, code: 'as-of-in-future' });
});

test('one refused submit does not hold up others of the same moment', async () => {
  const { name } = await api.project();
  const answers = await Promise.all([
    submit(name, { ref: 'main' }),
    submit(name, { asOf: '2999-01-01T00:00:00Z' }),
    submit(name, { ref: 'main' }),
  ]);
  expect(answers.map((answer) => answer.status)).toEqual([201, 422, 201]);
  expect([answers[0]?.body.number, answers[2]?.body.number]).toEqual([1, 2]);
});

test('like copies commit, parameters, seed, as-of and command unless they are given', async () => {
  const { name, id } = await api.project();
  await api.db.update(projects).set({ remoteUrl: 'https://example.org/a.git' }).where(eq(projects.id, id));
  const origin = await insertRun(api, id, {
    values: { overrides: { lr: 0.1, depth: 3 }, seed: 7, command: ['python', 'x.py'], branch: 'dev' },
  });
  const copy = await submit(name, { like: origin });
  expect(copy.body).toMatchObject({ ref: 'main', commit, asOf: '2026-01-01T00:00:00.000000Z', branch: 'dev' });
  const [copied] = await api.db.select().from(runs).where(eq(runs.id, copy.body.id));
  expect(copied).toMatchObject({
    overrides: { lr: 0.1, depth: 3 },
    seedAsked: 7,
    command: ['python', 'x.py'],
    likeRunId: origin,
  });
  const changed = await submit(name, { like: origin, params: { lr: 0.5 }, seed: 8, ref: 'other' });
  const [row] = await api.db.select().from(runs).where(eq(runs.id, changed.body.id));
  expect(row).toMatchObject({ overrides: { lr: 0.5, depth: 3 }, seedAsked: 8, ref: 'other', commit: null });
  expect(refusal(await submit(name, { like: randomUUID() }))).toEqual({ status: 404, code: 'not-found' });
});

test('a commit that is nowhere is refused when the project has no remote', async () => {
  const { name } = await api.project();
  expect(refusal(await submit(name, { commit: 'b'.repeat(40) }))).toEqual({ status: 422, code: 'commit-not-found' });
});

test('a patch is stored as a blob and marks the run', async () => {
  const { name } = await api.project();
  const patch = Buffer.from('diff --git a/x b/x\n');
  const answer = await submit(name, { dirty: { patch: patch.toString('base64') } });
  expect(answer.body.dirty).toBe(true);
  const got = await api.call('GET', `/runs/${answer.body.id}/patch`);
  expect(got.text).toBe(patch.toString());
});

test.each([
  [{ ref: '--upload-pack=x' }, 422, 'invalid-reference'],
  [{ ref: 'a..b' }, 422, 'invalid-reference'],
  [{ commit: 'abc' }, 400, 'invalid-request'],
  [{ seed: -1 }, 400, 'invalid-request'],
  [{ seed: 1.5 }, 400, 'invalid-request'],
  [{ asOf: 'yesterday' }, 400, 'invalid-request'],
  [{ owner: 'someone', status: 'succeeded', number: 3 }, 400, 'invalid-request'],
  [{ tags: ['x'.repeat(101)] }, 400, 'invalid-request'],
  [{ params: { a: 'x\0y' } }, 400, 'invalid-request'],
  [{ command: [] }, 400, 'invalid-request'],
])('%j is refused', async (body, status, code) => {
  const { name } = await api.project();
  expect(refusal(await submit(name, body))).toEqual({ status, code });
});

test('a submit to no project is refused', async () => {
  expect(refusal(await submit('nowhere', {}))).toEqual({ status: 404, code: 'not-found' });
});

test('a run starts from the newest checkpoints of another, which then stay, as they do for whoever resumes it', async () => {
  const { name, id } = await api.project();
  const from = await insertRun(api, id);
  const [row] = await api.db.select({ number: runs.number }).from(runs).where(eq(runs.id, from));
  const label = `${name}/${row?.number}`;
  const body = { ref: 'main', initFrom: label };
  const refused = await submit(name, body);
  expect(refusal(refused)).toEqual({ status: 422, code: 'checkpoint-missing' });
  expect(refused.body).toMatchObject({ detail: expect.stringContaining(`${label} has no checkpoints`) });
  const set = { runId: from, stepKey: 'k', fence: 1, files: 1, sizeBytes: 9, createdAt: new Date() };
  await api.db.insert(checkpointSets).values([
    { ...set, step: 'train', number: 1, digest: 'a'.repeat(64) },
    { ...set, step: 'train', number: 2, digest: 'b'.repeat(64) },
  ]);
  const accepted = await submit(name, body);
  expect(accepted.status).toBe(201);
  const run = await api.call<Run>('GET', `/runs/${accepted.body.id}`);
  const pinned = { run: label, step: 'train', attempt: 1, set: 2, digest: 'b'.repeat(64), files: 1, sizeBytes: 9 };
  expect(run.body.initFrom).toEqual(pinned);
  await expect(api.db.delete(checkpointSets).where(eq(checkpointSets.runId, from))).rejects.toThrow();
  const like = await submit(name, { like: accepted.body.id });
  expect((await api.call<Run>('GET', `/runs/${like.body.id}`)).body.initFrom).toEqual(pinned);
  const accept = createSubmitter(api.connection.pool);
  const plain = { ...plainSubmit, projectId: id, owner: 'ada', ref: 'main', commit: null, branch: null, trigger: null };
  const resumed = await accept({ ...plain, priority: 3, resumedFrom: accepted.body.id });
  expect((await api.call<Run>('GET', `/runs/${resumed.runId}`)).body.initFrom).toEqual(pinned);
  const replaced = { runId: from, step: 'train', number: 7 };
  await expect(accept({ ...plain, priority: 3, initFrom: replaced })).rejects.toMatchObject({
    code: 'checkpoint-missing',
  });
  await api.db.insert(checkpointSets).values({ ...set, step: 'tune', number: 1, digest: 'c'.repeat(64) });
  expect((await submit(name, body)).body).toMatchObject({ detail: expect.stringContaining('train, tune') });
  const named = await submit(name, { ref: 'main', initFrom: `${label}:tune` });
  const [kept] = await api.db.select().from(initialCheckpoints).where(eq(initialCheckpoints.runId, named.body.id));
  expect(kept).toMatchObject({ fromRunId: from, step: 'tune', number: 1 });
  expect((await submit(name, { ref: 'main', initFrom: `${label}:` })).status).toBe(400);
});
