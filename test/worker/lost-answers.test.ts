// What happened although the caller got an error: every fifth transaction is committed and its answer lost.
import { eq, inArray } from 'drizzle-orm';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Database } from '#db/connect.ts';
import { models, promotions, versions } from '#db/schema/models.ts';
import { artifacts, attempts, stepClaims } from '#db/schema/steps.ts';
import { startTestWorkers, type TestWorkers } from '../support/workers.ts';

let workers: TestWorkers;
let lost = 0;

beforeAll(async () => {
  workers = await startTestWorkers({ slots: 3, database: losingAnswers });
});

afterAll(async () => {
  await workers.stop();
});

function losingAnswers(db: Database): Database {
  let transactions = 0;
  const transaction: Database['transaction'] = async (work, config) => {
    const result = await db.transaction(work, config);
    transactions += 1;
    if (transactions % 5 !== 0) return result;
    lost += 1;
    throw new Error('Connection terminated unexpectedly');
  };
  return new Proxy(db, {
    get: (target, key) => (key === 'transaction' ? transaction : (Reflect.get(target, key) as unknown)),
  });
}

const project = `
stages:
  prepare: { command: 'echo 1 > data.txt', outputs: [data.txt] }
  train: { command: 'mkdir -p model && cp data.txt model/w && echo "{\\"acc\\": 1}" > metrics.json', outputs: [model/] }
model: { name: careful, path: model/ }
gate: ["acc >= 0.5"]
promote: when-passed
`;

it('equal steps run once', async () => {
  const { projectId, commit } = await workers.createProject('once', {
    'assay.yaml': project.replace('careful', 'once'),
  });
  const ids: string[] = [];
  for (let n = 0; n < 6; n += 1) ids.push(await workers.submit(projectId, commit, { reuse: true }));
  for (const id of ids)
    expect(await workers.finished(id, 110_000)).toMatchObject({ status: 'succeeded', gateResult: 'passed' });
  const launched = await workers.db.select().from(attempts).where(inArray(attempts.runId, ids));
  // A launch whose start was not answered is lost, and launched again by the same run.
  const good = launched.filter(({ status }) => status !== 'lost').map(({ step, status }) => `${step} ${status}`);
  expect(good.toSorted()).toEqual(['prepare succeeded', 'train succeeded']);
  const stages = (await Promise.all(ids.map((id) => workers.steps(id)))).flat().filter(({ kind }) => kind === 'stage');
  expect(stages.filter(({ status }) => status === 'reused')).toHaveLength(10);
}, 120_000);

it('every run succeeds, and each step, artifact, version and promotion is there once', async () => {
  const { projectId, commit } = await workers.createProject('careful', { 'assay.yaml': project });
  const ids = [];
  for (let n = 0; n < 6; n += 1) ids.push(await workers.submit(projectId, commit));
  for (const id of ids)
    expect(await workers.finished(id, 110_000)).toMatchObject({ status: 'succeeded', gateResult: 'passed' });
  expect(lost).toBeGreaterThan(ids.length);
  for (const id of ids) {
    const steps = await workers.steps(id);
    expect(steps.map(({ status }) => status)).toEqual(steps.map(() => 'succeeded'));
    const launched = await workers.db.select().from(attempts).where(eq(attempts.runId, id));
    const good = launched.filter(({ status }) => status === 'succeeded').map(({ step, fence }) => `${step}.${fence}`);
    const counted = steps.filter(({ kind }) => kind === 'stage').map(({ name, fence }) => `${name}.${fence}`);
    expect(good.toSorted()).toEqual(counted.toSorted());
    const rows = await workers.db.select().from(artifacts).where(eq(artifacts.runId, id));
    expect(rows.map(({ path }) => path).toSorted()).toEqual(['data.txt', 'metrics.json', 'model/w']);
  }
  const made = await workers.db.select().from(versions).where(inArray(versions.runId, ids));
  expect(made.map(({ number }) => number).toSorted((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6]);
  const named = workers.db.select().from(models).where(eq(models.name, 'careful'));
  expect(await named).toHaveLength(1);
  const promoted = await workers.db.select().from(promotions).where(inArray(promotions.runId, ids));
  expect(promoted.map(({ runId }) => runId).toSorted()).toEqual(ids.toSorted());
  expect(await workers.db.select().from(stepClaims)).toEqual([]);
}, 120_000);
