import { Readable } from 'node:stream';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { listArtifacts } from '#db/artifacts.ts';
import { listMetrics } from '#db/metrics.ts';
import { appendSegment } from '#lake/append.ts';
import { startTestWorkers, type TestWorkers } from '../support/workers.ts';

let workers: TestWorkers;

beforeAll(async () => {
  workers = await startTestWorkers();
});

afterAll(async () => {
  await workers.stop();
});

const threeStages = `
project: three
stages:
  prepare: { command: 'python -c "open(\\"numbers.txt\\", \\"w\\").write(\\"1 2 3\\")"', outputs: [numbers.txt] }
  train: { command: python train.py, outputs: [model/] }
  evaluate: { command: python evaluate.py, outputs: [metrics.json] }
model: { name: three, path: model/ }
gate: ["accuracy >= 0.5"]
`;

const train = `
import os
os.makedirs("model", exist_ok=True)
numbers = open("numbers.txt").read().split()
open("model/weights.txt", "w").write(str(sum(map(int, numbers))))
print("trained on", len(numbers))
`;

const evaluate = `
import json
weight = int(open("model/weights.txt").read())
json.dump({"accuracy": 0.9, "weight": weight}, open("metrics.json", "w"))
`;

describe('a run', () => {
  it('goes through every step, keeps what the stages made and makes a version when its gate passes', async () => {
    const files = { 'assay.yaml': threeStages, 'train.py': train, 'evaluate.py': evaluate };
    const { projectId, commit } = await workers.createProject('three', files);
    const runId = await workers.submit(projectId, commit);
    const run = await workers.finished(runId);
    const steps = await workers.steps(runId);
    expect(run.failure).toBeNull();
    expect(run.status).toBe('succeeded');
    expect(run.gateResult).toBe('passed');
    expect(steps.map(({ name, status }) => `${name} ${status}`)).toEqual([
      'resolve-commit succeeded',
      'build-environment succeeded',
      'prepare succeeded',
      'train succeeded',
      'evaluate succeeded',
      'persist succeeded',
      'gate succeeded',
      'promote skipped',
    ]);
    expect(steps.filter((step) => step.kind === 'stage').every((step) => step.stepKey?.length === 64)).toBe(true);
    const artifacts = await listArtifacts(workers.db, runId, { all: false });
    expect(artifacts.map(({ path }) => path)).toEqual(['metrics.json', 'model/weights.txt', 'numbers.txt']);
    const metrics = await listMetrics(workers.db, runId);
    expect(metrics.map(({ key, last }) => [key, last])).toEqual([
      ['accuracy', 0.9],
      ['weight', 6],
    ]);
    expect(run.manifestSha256).toMatch(/^[0-9a-f]{64}$/);
  });

  it('fails with the class, one sentence and the last log lines when a stage exits with an error', async () => {
    const files = { 'train.py': 'print("about to fail")\nraise ValueError("no data")\n' };
    const { projectId, commit } = await workers.createProject('failing', files);
    const run = await workers.finished(await workers.submit(projectId, commit));
    expect(run.status).toBe('failed');
    expect(run.failure).toMatchObject({ class: 'user', step: 'train', exitCode: 1 });
    expect(run.failure?.logTail).toContain('about to fail');
    expect(run.failure?.sentence).toContain('ValueError: no data');
  });

  it('makes no version of a model that it declares and does not write, and says so', async () => {
    const yaml = 'model: { name: absent, path: model/ }\nstages: { train: { command: "true" } }\n';
    const { projectId, commit } = await workers.createProject('absent', { 'assay.yaml': yaml });
    const runId = await workers.submit(projectId, commit);
    expect(await workers.finished(runId)).toMatchObject({ status: 'succeeded', gateResult: 'none' });
    const gate = (await workers.steps(runId)).find(({ name }) => name === 'gate');
    expect(gate?.facts).toMatchObject({ versions: [], made: expect.stringContaining('wrote nothing at model/') });
  });

  it('trains on the rows that were in the lake at its as-of, in the format its data asks for', async () => {
    const append = (rows: string) =>
      appendSegment(workers.lake, { table: 'points', source: Readable.from(rows), format: 'csv', by: 'ada' });
    await append('x,y\n1,2\n2,4\n');
    const asOf = (await workers.db.execute<{ now: string }>(sql`select clock_timestamp()::text as now`)).rows[0]?.now;
    await append('x,y\n3,6\n');
    const yaml = `
data: { points: { query: points.sql, to: data/points.csv } }
stages: { train: { command: python train.py, outputs: [metrics.json] } }
`;
    const count =
      'import json\nrows = open("data/points.csv").read().split()\njson.dump({"rows": len(rows) - 1}, open("metrics.json", "w"))\n';
    const files = { 'assay.yaml': yaml, 'points.sql': 'select x, y from points order by x', 'train.py': count };
    const { projectId, commit } = await workers.createProject('lake-reader', files);
    const then = await workers.submit(projectId, commit, { asOf: asOf ?? '' });
    const now = await workers.submit(projectId, commit);
    expect(await workers.finished(then)).toMatchObject({ status: 'succeeded', failure: null });
    expect(await workers.finished(now)).toMatchObject({ status: 'succeeded', failure: null });
    expect((await listMetrics(workers.db, then)).map(({ last }) => last)).toEqual([2]);
    expect((await listMetrics(workers.db, now)).map(({ last }) => last)).toEqual([3]);
  });
});
