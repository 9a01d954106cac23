// One slot, and many who want it: the order in which they are served, by a real Temporal server.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { asc, eq } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Priority } from '#core/priority.ts';
import { setQuota } from '#db/quotas.ts';
import { requestCancel } from '#db/runs.ts';
import { quotas } from '#db/schema/quotas.ts';
import { runs } from '#db/schema/runs.ts';
import { attempts, steps } from '#db/schema/steps.ts';
import { explainWaiting } from '#db/waiting.ts';
import { runWorkflowId } from '#workflows/messages.ts';
import { startTestWorkers, type TestWorkers } from '../support/workers.ts';

let workers: TestWorkers;
let project: { projectId: string; commit: string };
let gate = 0;
const none = { runs: null, stages: null, devices: null };

const yaml = `stages: { train: { command: 'sh train.sh', outputs: [] } }\n`;
const script = 'while [ -n "$GATE" ] && [ ! -e "$GATE" ]; do sleep 0.05; done\n';

beforeAll(async () => {
  workers = await startTestWorkers({ slots: 1 });
  project = await workers.createProject('quick', { 'assay.yaml': yaml, 'train.sh': 'true\n' });
});

afterAll(async () => {
  await workers.stop();
});

beforeEach(async () => {
  await workers.db.delete(quotas);
});

/** Occupies a slot until it is opened. */
async function occupy(more: Partial<typeof runs.$inferInsert> = {}) {
  const file = join(workers.home, `gate-${(gate += 1)}`);
  const { projectId, commit } = await workers.createProject(`gate-${gate}`, {
    'assay.yaml': `env: { GATE: '${file}' }\n${yaml}`,
    'train.sh': script,
  });
  const runId = await workers.submit(projectId, commit, more);
  await workers.until(runId, async () => (await attemptsOf(runId)).some(({ status }) => status === 'running'));
  return { runId, open: () => writeFile(file, '') };
}

const attemptsOf = (runId: string) => workers.db.select().from(attempts).where(eq(attempts.runId, runId));

async function waitsFor(runId: string, what: 'slot' | 'quota'): Promise<void> {
  await workers.until(runId, async () => (await stepOf(runId))?.waitsFor === what);
}

async function stepOf(runId: string) {
  const found = await workers.db.select().from(steps).where(eq(steps.runId, runId));
  return found.find(({ name }) => name === 'train');
}

async function queue(owner: string, priority: Priority): Promise<string> {
  const runId = await workers.submit(project.projectId, project.commit, { owner, priority });
  await waitsFor(runId, 'slot');
  return runId;
}

async function reasonOf(runId: string): Promise<string | undefined> {
  const row = await workers.load(runId);
  const { id, status, owner, waitingReason } = row;
  return (await explainWaiting(workers.db, [{ id, status, owner, waitingReason, project: 'quick' }])).get(id);
}

/** Labels in the order in which their stages were started. */
async function served(labels: Map<string, string>): Promise<string[]> {
  const rows = await workers.db.select().from(attempts).orderBy(asc(attempts.createdAt));
  return rows.flatMap(({ runId }) => labels.get(runId) ?? []);
}

describe('a queue for one slot', () => {
  it('is served by priority, and among equals the users take turns', async () => {
    const busy = await occupy();
    const labels = new Map<string, string>();
    for (const label of ['ada 1', 'ada 2', 'ada 3', 'grace 1', 'grace 2'])
      labels.set(await queue(label.split(' ')[0] ?? '', 3), label);
    labels.set(await queue('linus', 5), 'linus, last');
    const urgent = await queue('linus', 1);
    labels.set(urgent, 'linus, first');
    expect(await reasonOf(urgent)).toBe('train waits for a slot in pool cpu, about place 1 of 7');
    const [second] = [...labels].find(([, label]) => label === 'grace 1') ?? [];
    expect(await reasonOf(second ?? '')).toContain('about place 3 of 7');
    await busy.open();
    for (const runId of labels.keys()) await workers.finished(runId);
    const order = await served(labels);
    expect(order[0]).toBe('linus, first');
    expect(order.at(-1)).toBe('linus, last');
    const turns = order.slice(1, -1).map((label) => label.split(' ')[0]);
    expect(new Set(turns.slice(0, 2))).toEqual(new Set(['ada', 'grace']));
    expect(new Set(turns.slice(2, 4))).toEqual(new Set(['ada', 'grace']));
    expect(turns[4]).toBe('ada');
  }, 120_000);
});

describe('a quota', () => {
  it('of stages keeps one waiting without a slot, says so, and lets it go on when there is room', async () => {
    await setQuota(workers.db, { kind: 'user', name: 'ada' }, { ...none, stages: 1 }, 'ada');
    const busy = await occupy();
    const runId = await workers.submit(project.projectId, project.commit);
    await waitsFor(runId, 'quota');
    await workers.until(runId, (row) => row.waitingReason === 'train waits for quota: user ada has 1 of 1 stages');
    await busy.open();
    expect((await workers.finished(runId)).status).toBe('succeeded');
    const step = await stepOf(runId);
    const before = await attemptsOf(busy.runId);
    expect(Number(step?.startedAt)).toBeGreaterThanOrEqual(Number(before[0]?.finishedAt));
  });

  it('keeps nobody from being cancelled who waits for it', async () => {
    await setQuota(workers.db, { kind: 'user', name: 'ada' }, { ...none, stages: 1 }, 'ada');
    const busy = await occupy();
    const runId = await workers.submit(project.projectId, project.commit);
    await waitsFor(runId, 'quota');
    await requestCancel(workers.db, runId, 'ada');
    await workers.client.workflow.getHandle(runWorkflowId(runId, 1)).cancel();
    expect((await workers.finished(runId, 15_000)).status).toBe('cancelled');
    await busy.open();
    await workers.finished(busy.runId);
  });

  it('of runs keeps them in the database, and the next one starts when one ends', async () => {
    await setQuota(workers.db, { kind: 'project', name: 'quick' }, { ...none, runs: 1 }, 'ada');
    const accepted: string[] = [];
    while (accepted.length < 3) accepted.push(await workers.submit(project.projectId, project.commit));
    for (const runId of accepted) expect((await workers.finished(runId)).status).toBe('succeeded');
    const rows = await Promise.all(accepted.map((runId) => workers.load(runId)));
    const spans = rows
      .map((row) => [Number(row.startedAt), Number(row.finishedAt)] as const)
      .toSorted((a, b) => a[0] - b[0]);
    spans.slice(1).forEach(([start], n) => expect(start).toBeGreaterThanOrEqual(spans[n]?.[1] ?? 0));
  });
});
