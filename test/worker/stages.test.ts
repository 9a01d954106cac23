import { arch, cpus, totalmem } from 'node:os';
import { and, eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runs } from '#db/schema/runs.ts';
import { attempts, logChunks } from '#db/schema/steps.ts';
import { setSecret } from '#db/secrets.ts';
import { hashToken } from '#db/tokens.ts';
import { stageToken } from '#activities/stage/secrets.ts';
import { runWorkflowId } from '#workflows/messages.ts';
import { readBlob } from '#storage/keep.ts';
import { startTestWorkers, type TestWorkers } from '../support/workers.ts';

let workers: TestWorkers;

beforeAll(async () => {
  workers = await startTestWorkers({ slots: 3 });
});

afterAll(async () => {
  await workers.stop();
});

const stage = (more: string) => `stages: { train: { command: python train.py, ${more} } }\n`;

async function start(name: string, files: Record<string, string>) {
  const { projectId, commit } = await workers.createProject(name, files);
  return { projectId, runId: await workers.submit(projectId, commit) };
}

const attemptsOf = (runId: string) =>
  workers.db.select().from(attempts).where(eq(attempts.runId, runId)).orderBy(attempts.fence);

/** Holds when the stage has printed the text, so that what follows meets a stage that runs. */
async function printed(runId: string, text: string): Promise<boolean> {
  const chunks = await workers.db.select().from(logChunks).where(eq(logChunks.runId, runId));
  return chunks.some((chunk) => chunk.inline?.includes(text) === true);
}

const sleeper = `
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
print("sleeping")
time.sleep(60)
`;

describe('a stage', () => {
  it('is retried as often as its retries say, each time with a higher fence', async () => {
    const train = 'import os, sys\nsys.exit(0 if os.environ["ASSAY_ATTEMPT"] == "3" else 5)\n';
    const { runId } = await start('retried', { 'train.py': train, 'assay.yaml': stage('retries: 2') });
    const run = await workers.finished(runId);
    expect(run.status).toBe('succeeded');
    expect((await attemptsOf(runId)).map(({ fence, status, exitCode }) => [fence, status, exitCode])).toEqual([
      [1, 'failed', 5],
      [2, 'failed', 5],
      [3, 'succeeded', 0],
    ]);
  });

  it('that runs longer than its timeout is stopped and the run fails with that class', async () => {
    const { runId } = await start('slow', { 'train.py': sleeper, 'assay.yaml': stage('timeout: 1s, grace: 2s') });
    const run = await workers.finished(runId);
    expect(run.failure).toMatchObject({ class: 'timeout', step: 'train' });
    expect(run.failure?.sentence).toContain('timeout of 1s');
  });

  it('that exits 0 without its outputs fails and names them', async () => {
    const { runId } = await start('forgetful', {
      'train.py': 'print("done")\n',
      'assay.yaml': stage('outputs: [model/]'),
    });
    const run = await workers.finished(runId);
    expect(run.failure).toMatchObject({ class: 'user', sentence: expect.stringContaining('model/') });
  });

  it('gets its secrets, and its log shows none of them in any common encoding', async () => {
    const value = 'correct-horse-battery-staple';
    const train = `
import base64, os
secret = os.environ["TOKEN"]
assert secret == "${value}"
print("plain", secret)
print("base64", base64.b64encode(secret.encode()).decode())
`;
    const files = { 'train.py': train, 'assay.yaml': `secrets: [TOKEN]\n${stage('outputs: []')}` };
    const { projectId, commit } = await workers.createProject('secretive', files);
    const refused = await workers.finished(await workers.submit(projectId, commit));
    expect(refused.failure?.sentence).toContain('TOKEN');
    await setSecret(workers.db, workers.secretsKey, { projectId, name: 'TOKEN', value, by: 'ada' });
    const runId = await workers.submit(projectId, commit);
    expect((await workers.finished(runId)).status).toBe('succeeded');
    const chunks = await workers.db
      .select()
      .from(logChunks)
      .where(and(eq(logChunks.runId, runId), eq(logChunks.step, 'train')));
    const log = Buffer.concat(chunks.map((chunk) => chunk.inline ?? Buffer.alloc(0))).toString();
    expect(log).toContain('plain ***');
    expect(log).toContain('base64 ***');
    expect(log).not.toContain(value);
  });

  it('gets a token of its own that is valid while its attempt is current, and its log does not show it', async () => {
    const train = 'import os, time\nprint("token", os.environ["ASSAY_TOKEN"])\ntime.sleep(2)\n';
    const { runId } = await start('tokened', { 'train.py': train });
    await workers.until(runId, () => printed(runId, 'token ***'));
    const [open] = await attemptsOf(runId);
    const token = stageToken(workers.secretsKey, open?.launch ?? '');
    expect(hashToken(token)).toBe(open?.tokenHash);
    expect((await workers.finished(runId)).status).toBe('succeeded');
    expect((await attemptsOf(runId))[0]?.tokenHash).toBeNull();
  });

  it('keeps its machine, its threads and its seed, and those of its project where they differ', async () => {
    const train = 'import os\nassert os.environ["OMP_NUM_THREADS"] == "3" and os.environ["MKL_NUM_THREADS"] == "2"\n';
    const yaml = `seed: 4294967295\n${stage('resources: { cpus: 2 }, env: { OMP_NUM_THREADS: "3" }')}`;
    const { runId } = await start('threads', { 'train.py': train, 'assay.yaml': yaml });
    expect((await workers.finished(runId)).failure).toBeNull();
    const [attempt] = await attemptsOf(runId);
    expect(attempt?.hardware).toMatchObject({ arch: arch(), logicalCores: cpus().length, memoryBytes: totalmem() });
    expect(attempt?.hardware).toMatchObject({ libc: expect.any(String), cpuModel: expect.any(String), gpus: [] });
    const variables = {
      ASSAY_SEED: '4294967295',
      PYTHONHASHSEED: '4294967295',
      OMP_NUM_THREADS: '3',
      MKL_NUM_THREADS: '2',
    };
    expect(attempt?.facts).toMatchObject({ started: true, variables });
    const steps = await workers.steps(runId);
    const ingredients = steps.find(({ name }) => name === 'train')?.ingredients;
    expect(ingredients).toMatchObject({ threads: 2, env: { OMP_NUM_THREADS: '3' } });
    const { manifestSha256 } = await workers.load(runId);
    const manifest: unknown = JSON.parse((await readBlob(workers.store, manifestSha256 ?? '')).toString());
    expect(manifest).toMatchObject({ steps: [{ name: 'train', hardware: attempt?.hardware, variables }] });
  });

  it('that asks to be deterministic has the switches set, and what it did with them is read back', async () => {
    const torch = `
import types
__version__ = '2.5.1'
on = [False]
def use_deterministic_algorithms(mode): on[0] = mode
def are_deterministic_algorithms_enabled(): return on[0]
def get_num_threads(): return 1
backends = types.SimpleNamespace(cudnn=types.SimpleNamespace(benchmark=True))
`;
    const train = (more: string) => `
import os, sys, torch
assert torch.are_deterministic_algorithms_enabled() and not torch.backends.cudnn.benchmark
assert os.environ["TF_DETERMINISTIC_OPS"] == "1" and os.environ["PYTHONPATH"].endswith(":packages")
${more}`;
    const yaml = stage('deterministic: true, env: { PYTHONPATH: packages }, outputs: []');
    const files = { 'packages/torch.py': torch, 'assay.yaml': yaml };
    const kept = await start('deterministic', { ...files, 'train.py': train('') });
    const off = 'torch.use_deterministic_algorithms(False)\n';
    const undone = await start('deterministic-off', { ...files, 'train.py': train(off) });
    const silent = await start('deterministic-sh', { 'assay.yaml': yaml.replace('python train.py', 'echo hello') });
    const found = await Promise.all(
      [kept, undone, silent].map(async ({ runId }) => {
        expect((await workers.finished(runId)).failure).toBeNull();
        const step = (await workers.steps(runId)).find(({ name }) => name === 'train');
        return [(await attemptsOf(runId))[0]?.facts?.determinism, step?.facts?.notes];
      }),
    );
    expect(found).toMatchObject([
      [{ held: true, processes: 1, libraries: [{ library: 'torch', version: '2.5.1', deterministic: true }] }, []],
      [{ held: false }, ['train.py (torch 2.5.1) ended with deterministic algorithms switched off.']],
      [{ held: null, processes: 0 }, [expect.stringContaining('no Python process')]],
    ]);
  });

  it('runs beside its siblings and after all it needs, and finds their outputs', async () => {
    const yaml = `
stages:
  left: { command: 'echo left > left.txt', needs: [], outputs: [left.txt] }
  right: { command: 'echo right > right.txt', needs: [], outputs: [right.txt] }
  join: { command: 'cat left.txt right.txt > both.txt', needs: [left, right], outputs: [both.txt] }
`;
    const { runId } = await start('diamond', { 'assay.yaml': yaml });
    expect((await workers.finished(runId)).status).toBe('succeeded');
    const join = (await attemptsOf(runId)).find((attempt) => attempt.step === 'join');
    const others = (await attemptsOf(runId)).filter((attempt) => attempt.step !== 'join');
    expect(others.every((other) => (other.finishedAt ?? 0) <= (join?.createdAt ?? 0))).toBe(true);
  });
});

describe('an environment that can not be made', () => {
  it('fails the run with the last lines of what was said', async () => {
    const { runId } = await start('unresolvable', { 'requirements.txt': 'six==99.99\n', 'train.py': 'pass\n' });
    const { failure } = await workers.finished(runId);
    expect(failure).toMatchObject({ class: 'environment', step: 'build-environment' });
    expect(failure?.logTail.join('\n')).toContain('six==99.99');
    const step = (await workers.steps(runId)).find(({ name }) => name === 'build-environment');
    expect(step?.failure?.logTail).toEqual(failure?.logTail);
  });

  it('is refused before anything is built where the file is of a kind that Assay does not install from', async () => {
    const { runId } = await start('conda', { 'environment.yml': 'dependencies: [numpy]\n', 'train.py': 'pass\n' });
    const { failure } = await workers.finished(runId);
    expect(failure).toMatchObject({ class: 'environment', step: 'resolve-commit' });
    expect(failure?.sentence).toMatch(/^environment\.yml is a conda environment, .*conda env create/);
  });
});

describe('stopping', () => {
  it('a cancelled run stops its stage and closes everything as cancelled', async () => {
    const { runId } = await start('cancelled', { 'train.py': sleeper });
    await workers.until(runId, () => printed(runId, 'sleeping'));
    await workers.db
      .update(runs)
      .set({ cancelRequestedAt: new Date(), cancelRequestedBy: 'ada' })
      .where(eq(runs.id, runId));
    await workers.client.workflow.getHandle(runWorkflowId(runId, 1)).cancel();
    const run = await workers.finished(runId);
    expect(run.status).toBe('cancelled');
    expect((await attemptsOf(runId)).map(({ status }) => status)).toEqual(['cancelled']);
    expect(await workers.runner.list()).toEqual([]);
  });

  it('a run terminated in Temporal is closed as cancelled and its stage is removed from the node', async () => {
    const { runId } = await start('terminated', { 'train.py': sleeper });
    await workers.until(runId, () => printed(runId, 'sleeping'));
    await workers.client.workflow.getHandle(runWorkflowId(runId, 1)).terminate('by an operator');
    const run = await workers.finished(runId);
    expect(run).toMatchObject({ status: 'cancelled', failure: { sentence: 'The run was terminated in Temporal.' } });
    await workers.until(runId, async () => (await workers.runner.list()).length === 0);
  });

  it('a stage whose node is stopped in an orderly way starts again later and costs no retry', async () => {
    const train = `
import os, time
print("attempt", os.environ["ASSAY_ATTEMPT"], "runs")
if os.environ["ASSAY_ATTEMPT"] == "1":
    time.sleep(60)
`;
    const { runId } = await start('drained', { 'train.py': train });
    await workers.until(runId, () => printed(runId, 'attempt 1 runs'));
    const stageWorker = workers.running[0];
    await stageWorker?.stop();
    workers.running[0] = await workers.startStage();
    const run = await workers.finished(runId);
    expect(run.status).toBe('succeeded');
    expect((await attemptsOf(runId)).map(({ fence, status }) => [fence, status])).toEqual([
      [1, 'lost'],
      [2, 'succeeded'],
    ]);
  });
});
