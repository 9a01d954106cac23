import { randomUUID } from 'node:crypto';
import { Readable } from 'node:stream';
import type { Connection } from '@temporalio/client';
import { and, eq } from 'drizzle-orm';
import type { FastifyInstance } from 'fastify';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ResumePlan, ResumeRun } from '#contract/resume.ts';
import type { Problem } from '#contract/problems.ts';
import type { RunSummary } from '#contract/runs.ts';
import { listArtifacts } from '#db/artifacts.ts';
import { listLoggedAttempts } from '#db/logs.ts';
import { listMetrics } from '#db/metrics.ts';
import { locks } from '#db/schema/environments.ts';
import { executions } from '#db/schema/runs.ts';
import { artifacts, attempts } from '#db/schema/steps.ts';
import { appendSegment } from '#lake/append.ts';
import { readBlob } from '#storage/keep.ts';
import { ensureNamespace } from '#worker/temporal/namespace.ts';
import { startTestWorkers, type TestWorkers } from '../support/workers.ts';
import { buildWorkersApi } from '../support/workers-api.ts';

let workers: TestWorkers;
let app: FastifyInstance;
let token: string;

beforeAll(async () => {
  workers = await startTestWorkers({ slots: 4 });
  ({ app, token } = await buildWorkersApi(workers, { owner: 'ada@example.org', temporal: () => workers.client }));
});

afterAll(async () => {
  await app.close();
  await workers.stop();
});

interface Answer {
  status: number;
  plan: ResumePlan;
  run: RunSummary;
  problem: Problem;
}

async function resume(runId: string, body: ResumeRun = {}, key: string | null = null): Promise<Answer> {
  const response = await app.inject({
    method: 'POST',
    url: `/api/v1/runs/${runId}/resume`,
    headers: { authorization: `Bearer ${token}`, ...(key === null ? {} : { 'idempotency-key': key }) },
    payload: body,
  });
  const read = response.json<{ plan: ResumePlan; run: RunSummary } & Problem>();
  return { status: response.statusCode, plan: read.plan, run: read.run, problem: read };
}

/** `step: sentence` of each step. */
const words = ({ plan }: Answer) => plan.steps.map(({ name, sentence }) => `${name}: ${sentence}`);
const planned = async (runId: string, body: ResumeRun = {}) => words(await resume(runId, { ...body, plan: true }));

async function stages(runId: string, execution = 1): Promise<string[]> {
  const steps = await workers.steps(runId, execution);
  return steps.filter(({ kind }) => kind === 'stage').map(({ name, status }) => `${name} ${status}`);
}

const launches = async (runId: string, step: string) =>
  (
    await workers.db
      .select()
      .from(attempts)
      .where(and(eq(attempts.runId, runId), eq(attempts.step, step)))
  ).length;

const yaml = `
project: digits
params: { file: params.json }
data: { points: { query: points.sql, to: points.csv } }
stages:
  prepare: { command: python prepare.py, code: [prepare.py], params: [], outputs: [ready.txt] }
  train: { command: python train.py, code: [train.py, lib/], outputs: [model/] }
  evaluate: { command: python evaluate.py, outputs: [metrics.json] }
model: { name: digits, path: model/ }
gate: ["accuracy >= 0.5"]
`;

const files = {
  'params.json': '{"lr": 0.1, "depth": 3}\n',
  'points.sql': 'select x from points order by x\n',
  'requirements.txt': '# nothing\n',
  'prepare.py': 'open("ready.txt", "w").write(open("points.csv").read())\n',
  'lib/model.py': 'def rate(lr):\n    return lr\n',
  'train.py': `import os, json, uuid
from lib.model import rate
os.makedirs("model", exist_ok=True)
lr = json.load(open("params.json"))["lr"]
open("model/weights.txt", "w").write(f"{rate(lr)} {uuid.uuid4()}")
json.dump({"loss": lr}, open("model/metrics.json", "w"))
print("trained at", lr)
`,
  'evaluate.py': 'raise ValueError("no metric")\n',
  'README.md': 'first\n',
};
const goodEvaluate = 'import json\njson.dump({"accuracy": 0.9}, open("metrics.json", "w"))\n';

const all = { 'assay.yaml': yaml, ...files };
const change = (changed: Record<string, string>) => workers.commitFiles(projectId, { ...all, ...changed });
let projectId: string;
/** A run of which prepare and train succeeded and evaluate failed. */
let failed: string;

beforeAll(async () => {
  const rows = Readable.from('x\n1\n2\n');
  await appendSegment(workers.lake, { table: 'points', source: rows, format: 'csv', by: 'ada' });
  const created = await workers.createProject('digits', all);
  projectId = created.projectId;
  failed = await workers.submit(projectId, created.commit, { reuse: true });
  await workers.finished(failed);
  // What is appended later is not looked at: the as-of is inherited.
  const later = Readable.from('x\n3\n');
  await appendSegment(workers.lake, { table: 'points', source: later, format: 'csv', by: 'ada' });
}, 240_000);

const kept = ['build-environment', 'load-data', 'prepare', 'train'].map((name) => `${name}: reused from digits/1`);

describe('the plan of a resume', () => {
  it('names the files and parameters that changed, and only those that count', async () => {
    const unfinished =
      'evaluate: will run, because it did not finish (failed: evaluate exited with code 1. ValueError: no metric)';
    expect(await stages(failed)).toEqual(['prepare succeeded', 'train succeeded', 'evaluate failed']);
    expect(await planned(failed)).toEqual([...kept, unfinished]);
    const readme = await change({ 'README.md': 'second\n' });
    expect(await planned(failed, { commit: readme })).toEqual([...kept, unfinished]);
    const helper = await change({ 'lib/model.py': 'def rate(lr):\n    return 2 * lr\n' });
    expect((await planned(failed, { commit: helper, params: { lr: 0.05 } })).slice(2)).toEqual([
      'prepare: reused from digits/1',
      'train: will run, because lib/model.py changed (1 line) and lr 0.1 → 0.05',
      'evaluate: will run, because lib/model.py changed (1 line), lr 0.1 → 0.05 and train will run',
    ]);
    const sources = await change({ 'requirements.txt': '# other\n', 'points.sql': 'select x + 1 as x from points\n' });
    expect((await planned(failed, { commit: sources })).slice(0, 3)).toEqual([
      'build-environment: will run, because requirements.txt changed',
      'load-data: will run, because data points: the query changed',
      'prepare: will run, because build-environment will run and load-data will run (unless the lock comes out the same and the data come out the same)',
    ]);
  });

  it('says what is never reused, what is asked to run and what is gone', async () => {
    const uncached = await change({
      'assay.yaml': yaml.replace('code: [prepare.py]', 'cache: false, code: [prepare.py]'),
    });
    expect((await planned(failed, { commit: uncached })).slice(2, 4)).toEqual([
      'prepare: will run, because it says cache: false',
      'train: will run, because prepare will run (unless prepare makes the same files again)',
    ]);
    expect((await planned(failed, { from: 'train' })).slice(2)).toEqual([
      'prepare: reused from digits/1',
      'train: will run, because --from train',
      'evaluate: will run, because --from train',
    ]);
    const [weights] = await workers.db.select().from(artifacts).where(eq(artifacts.path, 'model/weights.txt'));
    const bytes = await readBlob(workers.store, weights?.sha256 ?? '');
    await workers.store.delete(weights?.sha256 ?? '');
    expect((await planned(failed)).slice(3)).toEqual([
      'train: will run, because files of its result are gone',
      'evaluate: will run, because train will run',
    ]);
    await workers.store.put(Readable.from([bytes]));
    expect((await planned(failed)).slice(0, 4)).toEqual(kept);
  });
});

describe('a resume', () => {
  it('with a commit that mends a failed stage reuses the others by reference, lock included, and comes to its gate', async () => {
    const commit = await change({ 'evaluate.py': goodEvaluate });
    // As behind an index that moved: nothing is kept of the question any more.
    await workers.db.delete(locks);
    const answer = await resume(failed, { commit });
    expect(words(answer)).toEqual([...kept, 'evaluate: will run, because evaluate.py changed (2 lines)']);
    expect(answer.plan).toMatchObject({ run: 'digits/1', as: 'run', commit });
    const { id } = answer.run;
    const { asOf } = await workers.load(failed);
    const ended = { status: 'succeeded', gateResult: 'passed', resumedFrom: failed, asOf };
    expect(await workers.finished(id)).toMatchObject(ended);
    const steps = await workers.steps(id);
    expect(steps.map(({ name, status }) => `${name} ${status}`)).toEqual([
      'resolve-commit succeeded',
      'build-environment reused',
      'load-data reused',
      'prepare reused',
      'train reused',
      'evaluate succeeded',
      'persist succeeded',
      'gate succeeded',
      'promote skipped',
    ]);
    expect(steps[1]?.facts).toMatchObject({ lock: 'hit', lockSha256: expect.stringMatching(/^[0-9a-f]{64}$/) });
    const paths = (await listArtifacts(workers.db, id, { all: false })).map(({ path }) => path);
    expect(paths).toEqual(expect.arrayContaining(['model/weights.txt', 'ready.txt', 'metrics.json']));
    const keys = (await listMetrics(workers.db, id)).map(({ key }) => key);
    expect(keys).toEqual(expect.arrayContaining(['accuracy', 'loss']));
    expect((await listLoggedAttempts(workers.db, id)).map(({ step }) => step)).toContain('train');
  });

  it('after a change in a helper that training imports trains again', async () => {
    const helper = { 'lib/model.py': 'def rate(lr):\n    return 2 * lr\n', 'evaluate.py': goodEvaluate };
    const { run } = await resume(failed, { commit: await change(helper), params: { lr: 0.05 } });
    expect(await workers.finished(run.id)).toMatchObject({ status: 'succeeded', overrides: { lr: 0.05 } });
    expect(await stages(run.id)).toEqual(['prepare reused', 'train succeeded', 'evaluate succeeded']);
    const weights = (await listArtifacts(workers.db, run.id, { all: false })).find(({ path }) => path.endsWith('.txt'));
    expect((await readBlob(workers.store, weights?.sha256 ?? '')).toString()).toMatch(/^0\.1 /);
    // It has succeeded: only a new run can run a stage of it again.
    const again = await resume(run.id, { from: 'evaluate', plan: true });
    expect(again.plan.as).toBe('run');
    expect((await resume(run.id)).problem.detail).toContain('has succeeded, so there is nothing to resume');
  });

  it('without a change adds one execution, however many ask, when Temporal knows nothing of the run', async () => {
    const namespace = `test-${randomUUID()}`;
    for (const worker of workers.running.toReversed()) await worker.stop();
    // A new namespace is all that a worker sees of a Temporal whose database is empty.
    await ensureNamespace(workers.client.connection as Connection, namespace);
    workers.temporal.namespace = namespace;
    workers.running.splice(0, 2, await workers.startStage(), await workers.startControl());
    const answers = await Promise.all(Array.from({ length: 8 }, () => resume(failed)));
    expect(answers.filter(({ status }) => status === 409)).toHaveLength(7);
    expect(await workers.db.$count(executions, eq(executions.runId, failed))).toBe(2);
    await workers.finished(failed);
    expect(await stages(failed, 2)).toEqual(['prepare reused', 'train reused', 'evaluate failed']);
    expect([await launches(failed, 'train'), await launches(failed, 'evaluate')]).toEqual([1, 2]);

    const forced = await resume(failed, { from: 'train' }, 'forced');
    expect(forced.plan.as).toBe('execution');
    const repeated = await resume(failed, { from: 'train' }, 'forced');
    expect([repeated.status, repeated.plan, repeated.run.id]).toEqual([200, null, failed]);
    await workers.finished(failed);
    expect(await stages(failed, 3)).toEqual(['prepare reused', 'train succeeded', 'evaluate failed']);
    expect(await launches(failed, 'train')).toBe(2);
  });
});
