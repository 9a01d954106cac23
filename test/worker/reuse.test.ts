import { eq, sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { listArtifacts } from '#db/artifacts.ts';
import { listLoggedAttempts } from '#db/logs.ts';
import { listMetrics } from '#db/metrics.ts';
import { attempts, stepClaims } from '#db/schema/steps.ts';
import { startTestWorkers, type TestWorkers } from '../support/workers.ts';

let workers: TestWorkers;

beforeAll(async () => {
  workers = await startTestWorkers({ slots: 4 });
});

afterAll(async () => {
  await workers.stop();
});

const project = (name: string) => `
project: ${name}
stages:
  train: { command: python train.py, outputs: [model/] }
  evaluate: { command: python evaluate.py, outputs: [metrics.json] }
model: { name: ${name}, path: model/ }
gate: ["accuracy >= 0.5"]
`;

const train = `
import os, uuid, json
from lib.rate import rate
os.makedirs("model", exist_ok=True)
open("model/weights.txt", "w").write(f"{rate} {uuid.uuid4()}")
json.dump({"loss": rate}, open("model/metrics.json", "w"))
print("trained at", rate)
`;

const evaluate = `
import json
json.dump({"accuracy": 0.9}, open("metrics.json", "w"))
`;

const files = (name: string, rate: string, more: Record<string, string> = {}) => ({
  'assay.yaml': project(name),
  'train.py': train,
  'evaluate.py': evaluate,
  'lib/rate.py': `rate = ${rate}\n`,
  ...more,
});

const submit: TestWorkers['submit'] = (projectId, commit, more) =>
  workers.submit(projectId, commit, { reuse: true, ...more });

/** `name status` of the stages. */
async function stages(runId: string, execution = 1): Promise<string[]> {
  const steps = await workers.steps(runId, execution);
  return steps.filter(({ kind }) => kind === 'stage').map(({ name, status }) => `${name} ${status}`);
}

async function attemptsOf(runId: string): Promise<number> {
  return (await workers.db.select().from(attempts).where(eq(attempts.runId, runId))).length;
}

describe('an equal step', () => {
  it('is answered by the earlier result with its files, metrics and logs, and a changed helper runs again', async () => {
    const { projectId, commit } = await workers.createProject('again', files('again', '0.1'));
    const first = await submit(projectId, commit);
    expect(await workers.finished(first)).toMatchObject({ status: 'succeeded', gateResult: 'passed' });

    const readme = await workers.commitFiles(projectId, files('again', '0.1', { 'README.md': 'words' }));
    const second = await submit(projectId, readme);
    expect(await workers.finished(second)).toMatchObject({ status: 'succeeded', gateResult: 'passed' });
    expect(await stages(second)).toEqual(['train reused', 'evaluate reused']);
    expect(await attemptsOf(second)).toBe(0);
    const named = (list: Awaited<ReturnType<typeof listArtifacts>>) => list.map(({ path, sha256 }) => [path, sha256]);
    const kept = await listArtifacts(workers.db, first, { all: false });
    expect(kept.map(({ path }) => path)).toEqual(['metrics.json', 'model/metrics.json', 'model/weights.txt']);
    expect(named(await listArtifacts(workers.db, second, { all: false }))).toEqual(named(kept));
    expect(named(await listArtifacts(workers.db, second, { all: true }))).toEqual(named(kept));
    expect(await listMetrics(workers.db, second)).toEqual(await listMetrics(workers.db, first));
    const logs = (await listLoggedAttempts(workers.db, second)).filter(({ step }) => step === 'train');
    expect(logs).toMatchObject([{ runId: first, step: 'train', attempt: 1, isOpen: false }]);
    expect(logs[0]?.sizeBytes).toBeGreaterThan(10);
    const environment = (await workers.steps(second)).find(({ name }) => name === 'build-environment');
    expect(environment).toMatchObject({ status: 'reused', reusedFrom: first });

    const changed = await workers.commitFiles(projectId, files('again', '0.2'));
    const third = await submit(projectId, changed);
    await workers.finished(third);
    expect(await stages(third)).toEqual(['train succeeded', 'evaluate succeeded']);
  });

  it('runs all the same when it is asked to, and a stage that says cache: false always does', async () => {
    const never = project('asked').replace('evaluate.py,', 'evaluate.py, cache: false,');
    const { projectId, commit } = await workers.createProject('asked', {
      ...files('asked', '0.1'),
      'assay.yaml': never,
    });
    const first = await submit(projectId, commit);
    await workers.finished(first);
    const again = await submit(projectId, commit);
    await workers.finished(again);
    expect(await stages(again)).toEqual(['train reused', 'evaluate succeeded']);
    const all = await submit(projectId, commit, { reuse: false });
    await workers.finished(all);
    expect(await stages(all)).toEqual(['train succeeded', 'evaluate succeeded']);
    const reproduction = await submit(projectId, commit, { reproduces: first });
    await workers.finished(reproduction);
    expect(await stages(reproduction)).toEqual(['train succeeded', 'evaluate succeeded']);
    // What the run before last made is newer than the reproduction's, which gives nothing.
    const last = await submit(projectId, commit);
    await workers.finished(last);
    const step = (await workers.steps(last)).find(({ name }) => name === 'train');
    expect(step).toMatchObject({ status: 'reused', reusedFrom: all });
  });

  it('runs when a blob of the earlier result is gone', async () => {
    const { projectId, commit } = await workers.createProject('gone', files('gone', '0.1'));
    const first = await submit(projectId, commit);
    await workers.finished(first);
    const [weights] = (await listArtifacts(workers.db, first, { all: false })).filter(({ path }) =>
      path.endsWith('weights.txt'),
    );
    const sha256 = weights?.sha256 ?? '';
    await workers.store.delete(sha256);
    const second = await submit(projectId, commit);
    expect((await workers.finished(second)).status).toBe('succeeded');
    expect((await stages(second))[0]).toBe('train succeeded');
  });

  it('runs once however many runs ask for it at the same time', async () => {
    const { projectId, commit } = await workers.createProject('many', files('many', '0.1'));
    const ids: string[] = [];
    for (let i = 0; i < 50; i += 1) ids.push(await submit(projectId, commit));
    for (const id of ids) expect((await workers.finished(id, 120_000)).status).toBe('succeeded');
    const launched = await workers.db
      .select({ step: attempts.step, n: sql<number>`count(*)::int` })
      .from(attempts)
      .where(sql`${attempts.runId} = any(${sql.param(ids)}::uuid[])`)
      .groupBy(attempts.step);
    expect(new Map(launched.map(({ step, n }) => [step, n]))).toEqual(
      new Map([
        ['train', 1],
        ['evaluate', 1],
      ]),
    );
    expect(await workers.db.select().from(stepClaims)).toEqual([]);
  });

  it('goes to the next that waits when the run that ran it fails', async () => {
    const failing = { ...files('passed-on', '0.1'), 'train.py': 'import time\ntime.sleep(2)\nraise SystemExit(3)\n' };
    const { projectId, commit } = await workers.createProject('passed-on', failing);
    const [one, two] = [await submit(projectId, commit), await submit(projectId, commit)];
    const ended = [await workers.finished(one), await workers.finished(two)];
    expect(ended.map(({ status }) => status)).toEqual(['failed', 'failed']);
    expect([await attemptsOf(one), await attemptsOf(two)]).toEqual([1, 1]);
  });
});
