// Several stage workers as processes, which is what several nodes are: their slots, devices and states, and their deaths.
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { eq, inArray } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it as base } from 'vitest';
import { drainNode, listNodes, resumeNode } from '#db/nodes.ts';
import { attempts } from '#db/schema/steps.ts';
import { explainWaiting } from '#db/waiting.ts';
import { type StageProcess, stageProcess } from '../support/stage-process.ts';
import { launchesIn } from '../support/stage-processes.ts';
import { until } from '../support/stack.ts';
import { startTestWorkers, type TestWorkers } from '../support/workers.ts';

let workers: TestWorkers;

beforeAll(async () => {
  workers = await startTestWorkers({ stage: false });
});

afterAll(async () => {
  await workers.stop();
});

const slotOf = { ASSAY_SLOT_CPUS: '1', ASSAY_SLOT_MEMORY_GIB: '1' };

type NodeNamed = (name: string, pool: string, variables?: Record<string, string>) => StageProcess;

/** Nodes that end with their test. */
const it = base.extend<{ nodeNamed: NodeNamed }>({
  // oxlint-disable-next-line no-empty-pattern -- vitest reads the names of fixtures from this pattern.
  nodeNamed: async ({}, use) => {
    const started: StageProcess[] = [];
    await use((name, pool, variables = {}) => {
      const worker = stageProcess(
        join(workers.home, name),
        { ...workers.variables, ...slotOf, ASSAY_SLOTS: '2', ...variables },
        ['--pool', pool],
      );
      started.push(worker);
      return worker;
    });
    await Promise.all(started.map((worker) => worker.kill('SIGTERM')));
  },
});

/** Each writes a line when it begins and one when it ends, into one file for all. */
const counted = (pool: string, file: string, seconds: number) => ({
  'assay.yaml': `stages: { train: { command: 'sh train.sh', pool: ${pool}, outputs: [] } }\n`,
  'train.sh': `echo "+ $ASSAY_RUN_ID $CUDA_VISIBLE_DEVICES" >> ${file}\nsleep ${seconds}\necho "- $ASSAY_RUN_ID $CUDA_VISIBLE_DEVICES" >> ${file}\n`,
});

/** The most that ran at once, as the stages themselves tell it. */
function mostAtOnce(lines: readonly string[]): number {
  let running = 0;
  return Math.max(0, ...lines.map((line) => (running += line.startsWith('+') ? 1 : -1)));
}

async function sharedFile(name: string): Promise<string> {
  const file = join(workers.home, `${name}.txt`);
  await writeFile(file, '');
  await chmod(file, 0o666);
  return file;
}

const linesOf = async (file: string) => (await readFile(file, 'utf8')).split('\n').filter(Boolean);
const attemptsOf = (runId: string) =>
  workers.db.select().from(attempts).where(eq(attempts.runId, runId)).orderBy(attempts.fence);
const nodeOf = async (worker: StageProcess) => (await listNodes(workers.db)).find(({ id }) => id === worker.id());

async function runs(count: number, name: string, files: Record<string, string>): Promise<string[]> {
  const { projectId, commit } = await workers.createProject(name, files);
  const ids: string[] = [];
  while (ids.length < count) ids.push(await workers.submit(projectId, commit));
  return ids;
}

const isRunning = async (runId: string) => (await attemptsOf(runId)).some(({ status }) => status === 'running');

async function reasonOf(runId: string): Promise<string | undefined> {
  const { id, status, owner, waitingReason } = await workers.load(runId);
  return (await explainWaiting(workers.db, [{ id, status, owner, waitingReason, project: '' }])).get(id);
}

describe('three nodes of two slots', () => {
  it('never run more than six stages, also when one is killed in the middle and comes back', async ({ nodeNamed }) => {
    const nodes = ['a', 'b', 'c'].map((name) => nodeNamed(name, 'three'));
    await Promise.all(nodes.map((node) => node.start()));
    const file = await sharedFile('three');
    const ids = await runs(30, 'three', counted('three', file, 0.5));
    await until(async () => (await linesOf(file)).length > 15, 120_000);
    const [victim] = nodes;
    await victim?.kill('SIGKILL');
    await victim?.start();
    for (const runId of ids) expect((await workers.finished(runId, 240_000)).status).toBe('succeeded');
    const lines = await linesOf(file);
    expect(mostAtOnce(lines)).toBeLessThanOrEqual(6);
    expect(mostAtOnce(lines)).toBeGreaterThan(2);
    const rows = await workers.db.select().from(attempts).where(inArray(attempts.runId, ids));
    const byNode = Map.groupBy(rows, ({ nodeId }) => nodeId);
    expect(byNode.size).toBe(3);
    for (const own of byNode.values()) {
      const marks = own
        .flatMap(({ createdAt, finishedAt }) => [
          { at: Number(createdAt), by: 1 },
          { at: Number(finishedAt), by: -1 },
        ])
        .toSorted((x, y) => x.at - y.at || x.by - y.by);
      let open = 0;
      for (const { by } of marks) {
        open += by;
        expect(open).toBeLessThanOrEqual(2);
      }
    }
  }, 400_000);
});

describe('a node with devices', () => {
  it('hands each out once, also after it was killed while stages run', async ({ nodeNamed }) => {
    const node = nodeNamed('devices', 'tpu.x1', {
      ASSAY_SLOTS: '',
      ASSAY_DEVICES: '4,7',
      ASSAY_ACCELERATOR: 'tpu',
    });
    await node.start();
    expect(await nodeOf(node)).toMatchObject({
      slots: 2,
      devices: ['4', '7'],
      shape: { accelerator: 'tpu', devices: 1 },
    });
    const file = await sharedFile('devices');
    const files = counted('tpu.x1', file, 3);
    files['assay.yaml'] = files['assay.yaml'].replace('outputs', 'resources: { accelerators: tpu:1 }, outputs');
    const ids = await runs(5, 'devices', files);
    await until(async () => (await linesOf(file)).length >= 2);
    await node.kill('SIGKILL');
    await node.start();
    for (const runId of ids) expect((await workers.finished(runId, 120_000)).status).toBe('succeeded');
    const lines = await linesOf(file);
    expect(lines.filter((line) => line.startsWith('+'))).toHaveLength(5);
    for (const device of ['4', '7']) expect(mostAtOnce(lines.filter((line) => line.endsWith(` ${device}`)))).toBe(1);
  }, 240_000);
});

// These have a pool each and wait for leases more than for the machine, so they wait side by side.
describe.concurrent('a node of another shape', () => {
  it('is refused at its start, with both shapes and what to do', async ({ nodeNamed }) => {
    await nodeNamed('first', 'shapes').start();
    const { code, said } = await nodeNamed('second', 'shapes', { ASSAY_SLOT_CPUS: '2' }).refused();
    expect(code).toBe(1);
    expect(said).toContain('A slot of this node has 2 CPUs, 1 GiB, but pool shapes has slots of 1 CPUs, 1 GiB');
    expect(said).toContain('give this node another pool');
  }, 120_000);
});

describe.concurrent('a drained node', () => {
  it('runs its stages to the end and takes no new ones, also when it comes back, until it is resumed', async ({
    nodeNamed,
  }) => {
    const node = nodeNamed('drained', 'drained', { ASSAY_SLOTS: '1' });
    await node.start();
    const file = await sharedFile('drained');
    const files = counted('drained', file, 12);
    const [first = ''] = await runs(1, 'drained', files);
    await workers.until(first, () => isRunning(first));
    await drainNode(workers.db, { id: node.id(), by: 'grace', now: false, reason: 'a new disk' });
    await until(() => node.said().includes('asks for no more stages'));
    expect((await workers.finished(first)).status).toBe('succeeded');
    expect(await attemptsOf(first)).toHaveLength(1);
    await node.kill('SIGKILL');
    await node.start();
    const [second = ''] = await runs(1, 'drained-2', counted('drained', file, 0));
    await workers.until(
      second,
      async () => (await reasonOf(second))?.includes('waits for a node of pool drained') === true,
    );
    expect(await reasonOf(second)).toContain(`${node.id()} is draining`);
    expect(await reasonOf(second)).toContain('a new disk');
    await resumeNode(workers.db, { id: node.id(), by: 'grace' });
    expect((await workers.finished(second)).status).toBe('succeeded');
  }, 240_000);

  it('that is drained now stops its stages, which start elsewhere at no cost of a retry', async ({ nodeNamed }) => {
    const [node, other] = [
      nodeNamed('left', 'pair', { ASSAY_SLOTS: '1' }),
      nodeNamed('right', 'pair', { ASSAY_SLOTS: '1' }),
    ];
    await node.start();
    const [runId = ''] = await runs(1, 'pair', {
      'assay.yaml': `stages: { train: { command: 'sh train.sh', pool: pair, outputs: [] } }\n`,
      'train.sh': 'trap "exit 3" TERM\n[ "$ASSAY_ATTEMPT" != 1 ] || { sleep 300 & wait; }\n',
    });
    await workers.until(runId, () => isRunning(runId));
    await drainNode(workers.db, { id: node.id(), by: 'grace', now: true, reason: null });
    await workers.until(runId, async () => (await attemptsOf(runId))[0]?.status === 'lost');
    await other.start();
    expect((await workers.finished(runId)).status).toBe('succeeded');
    expect((await attemptsOf(runId)).map(({ status, nodeId }) => [status, nodeId])).toEqual([
      ['lost', node.id()],
      ['succeeded', other.id()],
    ]);
  }, 240_000);
});

describe.concurrent('a node on which launch after launch fails', () => {
  it('is put aside with the reason, which whoever waits for it is told, and comes back when it is resumed', async ({
    nodeNamed,
  }) => {
    const node = nodeNamed('bad', 'bad', { ASSAY_SLOTS: '1' });
    await node.start();
    const ids = await runs(2, 'bad', {
      'assay.yaml': `stages: { train: { command: 'sh train.sh', pool: bad, outputs: [] } }\n`,
      'train.sh': 'sleep 600\n',
    });
    for (let lost = 0; lost < 3; lost += 1) await killSupervisor(join(workers.home, 'bad'), ids, lost + 1);
    await until(async () => (await nodeOf(node))?.state === 'aside');
    expect((await nodeOf(node))?.stateReason).toMatch(/^its last 3 launches failed by infrastructure; the newest: /);
    await until(() => node.said().includes('asks for no more stages'));
    const waiting = await untilOne(ids, async (runId) => (await reasonOf(runId))?.includes('is put aside') === true);
    expect(await reasonOf(waiting)).toContain('its last 3 launches failed by infrastructure');
    const before = (await workers.db.select().from(attempts).where(inArray(attempts.runId, ids))).length;
    await resumeNode(workers.db, { id: node.id(), by: 'grace' });
    await until(
      async () => (await workers.db.select().from(attempts).where(inArray(attempts.runId, ids))).length > before,
    );
  }, 240_000);
});

async function untilOne(ids: readonly string[], holds: (runId: string) => Promise<boolean>): Promise<string> {
  let found: string | undefined;
  await until(async () => {
    for (const id of ids) if (await holds(id)) found = id;
    return found !== undefined;
  });
  return found ?? '';
}

/** Of the n-th launch of these runs, as a crash of the node's kernel would. */
async function killSupervisor(home: string, ids: readonly string[], n: number): Promise<void> {
  const all = () =>
    workers.db
      .select()
      .from(attempts)
      .where(inArray(attempts.runId, [...ids]))
      .orderBy(attempts.createdAt);
  await until(async () => (await all())[n - 1]?.status === 'running');
  const launch = (await all())[n - 1]?.launch ?? '';
  const file = join(home, 'launches', launch, 'state', 'supervisor.json');
  let pid: number | null = null;
  await until(async () => {
    const text = await readFile(file, 'utf8').catch(() => null);
    pid = text === null ? null : (JSON.parse(text) as { pid: number | null }).pid;
    return pid !== null;
  });
  process.kill(pid ?? 0, 'SIGKILL');
  await until(async () => (await all())[n - 1]?.status === 'failed');
}

describe.concurrent('a node that is killed', () => {
  it('is noticed within 30 s, and its stage starts on another', async ({ nodeNamed }) => {
    const [node, other] = [
      nodeNamed('dead', 'dead', { ASSAY_SLOTS: '1' }),
      nodeNamed('alive', 'dead', { ASSAY_SLOTS: '1' }),
    ];
    await node.start();
    const [runId = ''] = await runs(1, 'dead', {
      'assay.yaml': `stages: { train: { command: 'sh train.sh', pool: dead, outputs: [] } }\n`,
      'train.sh': '[ "$ASSAY_ATTEMPT" != 1 ] || sleep 300\n',
    });
    await workers.until(runId, () => isRunning(runId));
    await other.start();
    const killedAt = Date.now();
    await node.kill('SIGKILL');
    await workers.until(runId, async () => (await attemptsOf(runId)).length === 2, 90_000);
    expect(Date.now() - killedAt).toBeLessThan(45_000);
    expect((await workers.finished(runId)).status).toBe('succeeded');
    const [lost, second] = await attemptsOf(runId);
    expect([lost?.status, second?.nodeId]).toEqual(['lost', other.id()]);
    expect(Number(lost?.finishedAt) - killedAt).toBeLessThan(30_000);
    // The stage that the dead node left behind is removed by its worker when it comes back.
    await node.start();
    await until(() => launchesIn(join(workers.home, 'dead')).length === 0);
    expect(await attemptsOf(runId)).toHaveLength(2);
  }, 240_000);
});
