// A training that counts its epochs, stopped and killed in every way, and what it goes on from.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { and, eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { chooseInitialCheckpoint, listCheckpointFiles } from '#db/checkpoints.ts';
import { drainNode, resumeNode } from '#db/nodes.ts';
import { listMetrics } from '#db/metrics.ts';
import { resumeRun } from '#db/resume.ts';
import { requestCancel } from '#db/runs.ts';
import { checkpointSets, initialCheckpoints } from '#db/schema/checkpoints.ts';
import type { runs } from '#db/schema/runs.ts';
import { attempts, logChunks, steps } from '#db/schema/steps.ts';
import { readBlob } from '#storage/keep.ts';
import { runWorkflowId } from '#workflows/messages.ts';
import { type StageProcess, stageProcess } from '../support/stage-process.ts';
import { stageProcesses } from '../support/stage-processes.ts';
import { until } from '../support/stack.ts';
import { startTestWorkers, type TestWorkers } from '../support/workers.ts';

let workers: TestWorkers;
const nodes: StageProcess[] = [];

beforeAll(async () => {
  workers = await startTestWorkers({ slots: 4 });
});

afterAll(async () => {
  await Promise.all(nodes.map((node) => node.kill('SIGTERM')));
  await workers.stop();
});

/** No two runs write the same bytes, because one test damages some. From nothing it waits after epoch 3 until it is stopped; with a checkpoint it goes on to epoch 6 and ends. */
const train = `
import json, os, signal, sys, time
folder = os.environ["ASSAY_CHECKPOINT_DIR"]
def save(epoch):
    with open(folder + "/state.tmp", "w") as file:
        json.dump({"epoch": epoch, "run": os.environ["ASSAY_RUN_ID"]}, file)
    os.replace(folder + "/state.tmp", folder + "/state.json")
def stopped(*_):
    save(epoch + 10)
    sys.exit(143)
try:
    epoch = json.load(open(folder + "/state.json"))["epoch"]
except FileNotFoundError:
    epoch = 0
print("starts at", epoch, flush=True)
first = epoch
signal.signal(signal.SIGTERM, stopped)
for epoch in range(first + 1, (first if first else 0) + 4):
    with open("metrics.jsonl", "a") as file:
        file.write(json.dumps({"step": epoch, "loss": 1 / epoch}) + "\\n")
    save(epoch)
if first == 0:
    time.sleep(600)
`;

const project = (more: string) => ({
  'assay.yaml': `params: { defaults: { lr: 1 } }\nstages: { train: { command: python train.py, ${more} } }\n`,
  'train.py': train,
});

async function start(name: string, more = 'outputs: [], pool: cpu', values: Partial<typeof runs.$inferInsert> = {}) {
  const { projectId, commit } = await workers.createProject(name, project(more));
  return { projectId, commit, runId: await workers.submit(projectId, commit, values) };
}

const attemptsOf = (runId: string) =>
  workers.db.select().from(attempts).where(eq(attempts.runId, runId)).orderBy(attempts.fence);
const setsOf = (runId: string) =>
  workers.db.select().from(checkpointSets).where(eq(checkpointSets.runId, runId)).orderBy(checkpointSets.number);

async function logOf(runId: string, fence: number): Promise<string> {
  const rows = await workers.db
    .select()
    .from(logChunks)
    .where(and(eq(logChunks.runId, runId), eq(logChunks.step, 'train'), eq(logChunks.fence, fence)));
  return rows.map(({ inline }) => inline?.toString() ?? '').join('');
}

async function epochIn(set: { runId: string; step: string; number: number } | undefined): Promise<number> {
  if (set === undefined) throw new Error('no such set');
  const files = await listCheckpointFiles(workers.db, set);
  expect(files.map(({ path }) => path)).toEqual(['state.json']);
  const text = await readBlob(workers.store, files[0]?.sha256 ?? '');
  return (JSON.parse(text.toString()) as { epoch: number }).epoch;
}

const hasEpoch = async (runId: string, epoch: number) => {
  const newest = (await setsOf(runId)).at(-1);
  return newest !== undefined && (await epochIn(newest)) === epoch;
};

async function cancel(runId: string): Promise<void> {
  await requestCancel(workers.db, runId, 'ada');
  await workers.client.workflow.getHandle(runWorkflowId(runId, 1)).cancel();
  expect((await workers.finished(runId)).status).toBe('cancelled');
}

/** A run that was cancelled behind epoch 3; what it wrote in its grace says 13. */
async function cancelled(name: string, more?: string) {
  const started = await start(name, more);
  await workers.until(started.runId, () => hasEpoch(started.runId, 3));
  await cancel(started.runId);
  return started;
}

async function startsAt(runId: string, fence = 1): Promise<number> {
  const run = await workers.finished(runId);
  expect(run.failure).toBeNull();
  expect(run.status).toBe('succeeded');
  return Number(/starts at (\d+)\n/.exec(await logOf(runId, fence))?.[1]);
}

/** A run that starts from nothing never ends by itself. */
async function startsAtNothing(runId: string): Promise<void> {
  await workers.until(runId, async () => (await logOf(runId, 1)).includes('starts at'));
  expect(await logOf(runId, 1)).toContain('starts at 0');
  expect((await attemptsOf(runId))[0]?.restoredFrom).toBeNull();
  await cancel(runId);
}

describe.concurrent('the checkpoints of a stage', () => {
  it('that is cancelled are whole with what it wrote in its grace, and a resumed run goes on from them', async () => {
    const { projectId, commit, runId } = await cancelled('graceful', 'outputs: [], checkpoints: kept, pool: cpu');
    expect(await epochIn((await setsOf(runId)).at(-1))).toBe(13);
    await resumeRun(workers.db, runId, { by: 'ada', request: null, rerun: [] });
    expect(await startsAt(runId, 2)).toBe(13);
    const [, second] = await attemptsOf(runId);
    expect(second?.restoredFrom).toMatchObject({ run: 'graceful/1', attempt: 1, files: 1, initial: false });
    expect(await logOf(runId, 2)).toMatch(/^\[assay\] Starts with 1 checkpoint file .* of graceful\/1, attempt 1\.\n/);
    const loss = (await listMetrics(workers.db, runId)).find(({ key }) => key === 'loss');
    expect(loss).toMatchObject({ count: 3, lastStep: 16 });
    // The newest two are kept, and the run is done: whoever runs an equal step again does all of its work.
    expect((await setsOf(runId)).length).toBeLessThanOrEqual(2);
    const again = await workers.submit(projectId, commit, { resumedFrom: runId, reuse: false });
    await startsAtNothing(again);
  }, 240_000);

  it('go to a run that resumes another only if the key is the same, and never to a reproduction', async () => {
    const { projectId, commit, runId } = await cancelled('keyed');
    const same = await workers.submit(projectId, commit, { resumedFrom: runId });
    const other = await workers.submit(projectId, commit, { resumedFrom: runId, overrides: { lr: 2 } });
    const unrelated = await workers.submit(projectId, commit, { reuse: false });
    expect(await startsAt(same)).toBe(13);
    expect((await attemptsOf(same))[0]?.restoredFrom).toMatchObject({ run: 'keyed/1', attempt: 1 });
    const reproduction = await workers.submit(projectId, commit, { reproduces: same });
    await Promise.all([other, unrelated, reproduction].map(startsAtNothing));
  }, 240_000);

  it('give way to older ones when they are damaged, which is said', async () => {
    const { runId } = await cancelled('damaged');
    const sets = await setsOf(runId);
    expect(sets).toHaveLength(2);
    const epoch = await epochIn(sets[0]);
    const [file] = await listCheckpointFiles(workers.db, sets[1] ?? { runId, step: 'train', number: 0 });
    const sha256 = file?.sha256 ?? '';
    await writeFile(join(workers.home, 'blobs', 'objects', sha256.slice(0, 2), sha256), '{"epoch": 99}');
    await resumeRun(workers.db, runId, { by: 'ada', request: null, rerun: [] });
    expect(await startsAt(runId, 2)).toBe(epoch);
    const [, second] = await attemptsOf(runId);
    expect(second?.restoredFrom).toMatchObject({ set: sets[0]?.number });
    expect(second?.facts?.notes).toEqual([
      expect.stringContaining(`Checkpoint set ${sets[1]?.number} of damaged/1 was passed over: `),
    ]);
  }, 240_000);

  it('of another run are a pinned input of a run that is to start from them', async () => {
    const { projectId, commit, runId } = await cancelled('pinned');
    const { step, number, digest } = await chooseInitialCheckpoint(workers.db, runId, null);
    const id = await workers.submit(projectId, commit, { experiment: 'held', overrides: { lr: 3 } });
    await workers.db.insert(initialCheckpoints).values({ runId: id, fromRunId: runId, step, number });
    expect(await startsAt(id)).toBe(13);
    expect((await attemptsOf(id))[0]?.restoredFrom).toMatchObject({ run: 'pinned/1', set: number, initial: true });
    const [row] = await workers.db
      .select()
      .from(steps)
      .where(and(eq(steps.runId, id), eq(steps.name, 'train')));
    expect(row?.ingredients).toMatchObject({ initFrom: digest });
    const manifest = JSON.parse(
      (await readBlob(workers.store, (await workers.load(id)).manifestSha256 ?? '')).toString(),
    ) as object;
    expect(manifest).toMatchObject({ initFrom: { label: 'pinned/1', step: 'train', set: number, digest } });
    const { commit: plain, projectId: none } = await workers.createProject('without', {
      'assay.yaml': "stages: { train: { command: 'true', outputs: [] } }\n",
    });
    const without = await workers.submit(none, plain);
    await workers.finished(without);
    await expect(chooseInitialCheckpoint(workers.db, without, null)).rejects.toMatchObject({
      code: 'checkpoint-missing',
      message: expect.stringContaining('without/1 has no checkpoints'),
    });
  }, 240_000);

  it('follow it from a drained node to another, and from one that died, at no cost of a retry', async () => {
    const node = (name: string) => {
      const variables = { ASSAY_SLOT_CPUS: '1', ASSAY_SLOT_MEMORY_GIB: '1', ASSAY_SLOTS: '1' };
      const worker = stageProcess(join(workers.home, name), { ...workers.variables, ...variables }, ['--pool', 'two']);
      nodes.push(worker);
      return worker;
    };
    const [left, right] = [node('left'), node('right')];
    await left.start();
    const { projectId, commit, runId } = await start('moved', 'outputs: [], pool: two');
    await workers.until(runId, () => hasEpoch(runId, 3));
    await drainNode(workers.db, { id: left.id(), by: 'grace', now: true, reason: null });
    await right.start();
    expect(await startsAt(runId, 2)).toBe(13);
    expect((await attemptsOf(runId)).map(({ status, nodeId }) => [status, nodeId])).toEqual([
      ['lost', left.id()],
      ['succeeded', right.id()],
    ]);
    const killed = await workers.submit(projectId, commit, { reuse: false });
    await workers.until(killed, () => hasEpoch(killed, 3));
    await resumeNode(workers.db, { id: left.id(), by: 'grace' });
    const stage = stageProcesses(join(workers.home, 'right'), 'supervisor');
    await right.kill('SIGKILL');
    for (const { pid } of stage) process.kill(pid, 'SIGKILL');
    expect(await startsAt(killed, 2)).toBe(3);
    const [lost, second] = await attemptsOf(killed);
    expect([lost?.status, second?.nodeId, second?.restoredFrom?.set]).toEqual(['lost', left.id(), 1]);
    await until(() => stageProcesses(join(workers.home, 'left'), 'stage').length === 0);
  }, 240_000);
});
