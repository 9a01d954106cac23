// What of a resume is decided before anything runs. What then runs is in test/worker/resume.test.ts.
import { readFile } from 'node:fs/promises';
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ResumePlan, ResumeRun } from '#contract/resume.ts';
import type { Problem } from '#contract/problems.ts';
import type { RunSummary } from '#contract/runs.ts';
import { executions, runs } from '#db/schema/runs.ts';
import { createRepository, removeTemporary } from '#test/git/repositories.ts';
import { createTestApi, type TestApi } from './server.ts';
import { insertRun, type RunWish } from './fixtures.ts';

let api: TestApi;
let project: { id: string; name: string };
let commit: string;

const files = {
  'assay.yaml':
    'params: { file: params.json }\nstages:\n  prepare: { command: "true" }\n  train: { command: "true" }\n',
  'params.json': '{"lr": 0.1}\n',
};

beforeAll(async () => {
  api = await createTestApi();
  project = await api.project('resumed');
  const repository = await createRepository();
  for (const [path, text] of Object.entries(files)) await repository.write(path, text);
  commit = repository.commit('first');
  const bytes = await readFile(await repository.bundle({ tips: [commit] }));
  await api.call('POST', `/projects/resumed/code/bundles?commit=${commit}`, { bytes });
});
afterAll(async () => {
  await api.close();
  await removeTemporary();
});

async function resume(id: string, body: ResumeRun = {}, headers: Record<string, string> = {}) {
  const answer = await api.call<{ plan: ResumePlan; run: RunSummary } & Problem>('POST', `/runs/${id}/resume`, {
    body,
    headers,
  });
  return { ...answer.body, status: answer.status };
}

async function refusalOf(id: string, body: ResumeRun = {}): Promise<unknown[]> {
  const { status, code, detail } = await resume(id, body);
  return [status, code, detail];
}

const insert = (status: RunWish['status'], values: RunWish['values'] = {}) =>
  insertRun(api, project.id, { status: status ?? 'failed', values: { commit, ...values } });

test('a failed run goes on in execution 2; of many callers one starts it', async () => {
  const id = await insert('failed');
  const answers = await Promise.all(Array.from({ length: 8 }, () => resume(id)));
  const [accepted, ...others] = answers.filter(({ status }) => status === 200);
  expect(others).toEqual([]);
  expect(accepted?.run).toMatchObject({ id, status: 'queued', failure: null, actions: ['cancel'] });
  const refused = answers.filter(({ status }) => status !== 200);
  expect(new Set(refused.map(({ status, code }) => `${status} ${code}`))).toEqual(new Set(['409 run-not-finished']));
  const rows = await api.db.select().from(executions).where(eq(executions.runId, id));
  expect(rows.map((row) => [row.n, row.dispatch])).toEqual([
    [1, 'closed'],
    [2, 'queued'],
  ]);
});

test('of equal resumes with a change one makes a run while it is open; other changes make other runs', async () => {
  const id = await insert('failed', { seed: 7, tags: ['a'], name: 'first', experiment: 'tries', priority: 2 });
  const answers = await Promise.all(
    Array.from({ length: 8 }, (_, n) => resume(id, { params: { lr: n % 2 === 0 ? 0.2 : 0.3 } })),
  );
  const made = answers.filter(({ status }) => status === 200).map(({ run }) => run);
  expect(made).toHaveLength(2);
  const labels = made.map(({ label }) => label);
  for (const { status, code, detail } of answers.filter((answer) => answer.status !== 200)) {
    expect([status, code]).toEqual([409, 'conflict']);
    expect(labels).toContain(detail.split(' ')[0]);
  }
  const rows = await api.db.select().from(runs).where(eq(runs.resumedFrom, id));
  expect(rows.map(({ overrides }) => overrides['lr'])).toEqual(expect.arrayContaining([0.2, 0.3]));
  for (const row of rows) {
    const inherited = { seedAsked: 7, tags: ['a'], name: 'first', experiment: 'tries', priority: 2, reuse: true };
    expect(row).toMatchObject({ ...inherited, commit, asOf: '2026-01-01 00:00:00+00', owner: 'ml@example.org' });
  }
  expect(await api.db.$count(executions, eq(executions.runId, id))).toBe(1);
});

test('a repeated request with the same key is answered with the same run', async () => {
  const id = await insert('failed');
  const headers = { 'idempotency-key': `resume-${id}` };
  expect((await resume(id, { plan: true }, headers)).run).toBeNull();
  expect((await resume(id, {}, headers)).plan).toMatchObject({ as: 'execution' });
  expect(await resume(id, {}, headers)).toMatchObject({ status: 200, plan: null, run: { id } });
  expect(await api.db.$count(executions, eq(executions.runId, id))).toBe(2);
  const other = await resume(await insert('failed'), {}, headers);
  expect([other.status, other.code]).toEqual([409, 'idempotency-conflict']);
  const changed = await insert('failed');
  const key = { 'idempotency-key': `resume-${changed}` };
  const both = [await resume(changed, { params: { lr: 9 } }, key), await resume(changed, { params: { lr: 9 } }, key)];
  expect(both[1]?.run.id).toBe(both[0]?.run.id);
  const conflict = await resume(changed, { params: { lr: 8 } }, key);
  expect([conflict.status, conflict.code]).toEqual([409, 'idempotency-conflict']);
});

test('a run that never reached a commit starts over, or as a new run at one that is here', async () => {
  const id = await insert('failed', { config: null, commit: null, ref: 'gone' });
  const { plan } = await resume(id, { plan: true });
  expect(plan).toMatchObject({ as: 'execution', commit: null });
  expect(plan.steps.map(({ name, sentence }) => `${name}: ${sentence}`)).toEqual([
    'resolve-commit: will run, because it has not run yet',
  ]);
  expect(await refusalOf(id, { from: 'train' })).toEqual([409, 'conflict', expect.stringContaining('never reached')]);
  const moved = await resume(id, { commit });
  expect(moved.plan).toMatchObject({ as: 'run', commit });
  expect(moved.plan.steps.map(({ name, sentence }) => `${name}: ${sentence}`)).toEqual([
    'build-environment: will run, because it has not run yet',
    'prepare: will run, because build-environment will run',
    'train: will run, because prepare will run',
  ]);
  expect((await resume(id)).run).toMatchObject({ id, status: 'queued' });
});

test('what can not be resumed is refused with what to do instead, and nothing is half done', async () => {
  const config = { config: null };
  const succeeded = await insert('succeeded', config);
  expect(await refusalOf(succeeded)).toEqual([409, 'conflict', expect.stringContaining('nothing to resume')]);
  const running = await insert('running');
  expect(await refusalOf(running, { params: { lr: 1 } })).toEqual([
    409,
    'run-not-finished',
    expect.stringContaining('cancel it first'),
  ]);
  const waiting = await insert('needs-attention');
  expect((await refusalOf(waiting))[2]).toContain('assay resolve RUN retry');
  const failed = await insert('cancelled');
  const unknown = { params: { lrr: 1 } };
  expect(await refusalOf(failed, unknown)).toEqual([422, 'invalid-parameters', expect.stringContaining('"lr"?')]);
  expect(await refusalOf(failed, { params: { lr: 1 }, from: 'trian' })).toEqual([
    400,
    'invalid-request',
    expect.stringContaining('expected a stage of the project: prepare, train. Did you mean "train"?'),
  ]);
  expect(await refusalOf(failed, { params: { lr: 1 }, from: 'gate' })).toEqual([
    400,
    'invalid-request',
    expect.any(String),
  ]);
  const away = { commit: 'b'.repeat(40) };
  expect(await refusalOf(failed, away)).toEqual([422, 'commit-not-found', expect.stringContaining('has no remote')]);
  expect(await refusalOf(failed, { ref: 'nowhere' })).toEqual([422, 'commit-not-found', expect.any(String)]);
  const reproduction = await insert('failed', { reproduces: succeeded });
  expect((await refusalOf(reproduction, { commit: commit, params: { lr: 5 } }))[2]).toContain('is a reproduction');
  expect(await api.db.$count(executions, eq(executions.runId, failed))).toBe(1);
  expect(await api.db.$count(runs, eq(runs.resumedFrom, failed))).toBe(0);
});

test('a submit names stages to run again, and unknown ones are refused where the commit is here', async () => {
  const answer = await api.call<RunSummary>('POST', '/projects/resumed/runs', { body: { commit, rerun: ['train'] } });
  expect(answer.status).toBe(201);
  const [row] = await api.db.select().from(executions).where(eq(executions.runId, answer.body.id));
  expect(row?.rerun).toEqual(['train']);
  const refused = await api.call<Problem>('POST', '/projects/resumed/runs', { body: { commit, rerun: ['tarin'] } });
  expect([refused.status, refused.body.code]).toEqual([400, 'invalid-request']);
  expect(refused.body.errors[0]?.path).toBe('body.rerun');
});
