import { join } from 'node:path';
import { Readable } from 'node:stream';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { listArtifacts } from '#db/artifacts.ts';
import { listMetrics } from '#db/metrics.ts';
import { appendSegment } from '#lake/append.ts';
import { flipByte } from '../storage/s3-stores.ts';
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

  const readPoints = `
data: { points: { query: points.sql, to: data/points.csv } }
stages: { train: { command: python train.py, outputs: [metrics.json] } }
`;

  it('that reproduces another reads its data again, and stops when they are not what was recorded', async () => {
    const append = (rows: string) =>
      appendSegment(workers.lake, { table: 'events', source: Readable.from(rows), format: 'csv', by: 'ada' });
    const { sha256 } = await append('x\n1\n2\n');
    const files = {
      'assay.yaml': readPoints,
      'points.sql': 'select x, 2 * x as y from events',
      'train.py': 'print(1)\nopen("metrics.json", "w").write("{}")\n',
    };
    const { projectId, commit } = await workers.createProject('reproduced', files);
    const original = await workers.submit(projectId, commit);
    expect(await workers.finished(original)).toMatchObject({ status: 'succeeded' });
    await append('x\n3\n');
    const { asOf } = await workers.load(original);

    const same = await workers.submit(projectId, commit, { reproduces: original, asOf });
    expect(await workers.finished(same)).toMatchObject({ status: 'succeeded', failure: null });
    const factsOf = async (runId: string) =>
      (await workers.steps(runId)).find(({ name }) => name === 'load-data')?.facts?.points as Record<string, unknown>;
    const { digest, rows } = await factsOf(original);
    expect(await factsOf(same)).toMatchObject({ digest, rows, snapshot: 'refetched', pinnedTo: 'reproduced/1' });

    await flipByte(join(workers.home, 'blobs', 'objects', sha256.slice(0, 2), sha256));
    const spoilt = await workers.finished(await workers.submit(projectId, commit, { reproduces: original, asOf }));
    expect(spoilt).toMatchObject({ status: 'failed', failure: { class: 'data', step: 'load-data' } });
    expect(spoilt.failure?.sentence).toContain(`segment ${sha256} of table events (2 rows`);
    // What a resumed run asks for as before is read back, by its hash; only when that is gone it is read again.
    const resume = async () =>
      await workers.finished(await workers.submit(projectId, commit, { resumedFrom: original, asOf }));
    expect(await resume()).toMatchObject({ status: 'succeeded', failure: null });
    await workers.store.delete(String(digest));
    const resumed = await resume();
    expect(resumed.failure?.sentence).toContain('is damaged');
    expect(resumed.failure?.class).toBe('data');
  });

  it('never takes a damaged file: the failure names it, and the step that made it runs again', async () => {
    const yaml = `
stages:
  prepare: { command: 'echo one > one.txt', outputs: [one.txt] }
  train: { command: python train.py, outputs: [metrics.json] }
`;
    const files = { 'assay.yaml': yaml, 'train.py': 'open("metrics.json", "w").write("{}")\n' };
    const { projectId, commit } = await workers.createProject('damaged', files);
    const first = await workers.submit(projectId, commit);
    expect(await workers.finished(first)).toMatchObject({ status: 'succeeded' });
    const artifacts = await listArtifacts(workers.db, first, { all: false });
    const sha256 = artifacts.find(({ path }) => path === 'one.txt')?.sha256 ?? '';
    await flipByte(join(workers.home, 'blobs', 'objects', sha256.slice(0, 2), sha256));
    const yamlOnly = { ...files, 'assay.yaml': yaml.replace('python train.py', 'python -u train.py') };
    const again = await workers.commitFiles(projectId, yamlOnly);
    const second = await workers.submit(projectId, again, { reuse: true });
    const broken = await workers.finished(second);
    expect((await workers.steps(second)).find(({ name }) => name === 'prepare')?.status).toBe('reused');
    expect(broken).toMatchObject({ status: 'failed', failure: { class: 'platform', step: 'train' } });
    expect(broken.failure?.sentence).toContain(
      `one.txt, which prepare made, can not be used. The bytes of blob ${sha256}`,
    );
    const healed = await workers.submit(projectId, again, { reuse: true });
    expect(await workers.finished(healed)).toMatchObject({ status: 'succeeded', failure: null });
    expect((await workers.steps(healed)).find(({ name }) => name === 'prepare')?.status).toBe('succeeded');
  });
});
