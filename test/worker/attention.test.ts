import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { attempts } from '#db/schema/steps.ts';
import { type Resolution, resolveUpdate, runWorkflowId } from '#workflows/messages.ts';
import { startTestWorkers, type TestWorkers } from '../support/workers.ts';

let workers: TestWorkers;

beforeAll(async () => {
  workers = await startTestWorkers();
});

afterAll(async () => {
  await workers.stop();
});

/** A stage that waits for ever in its first four attempts and succeeds in the fifth. */
const train = `
import os, time
if int(os.environ["ASSAY_ATTEMPT"]) <= 4:
    time.sleep(600)
`;

const attemptsOf = (runId: string) =>
  workers.db.select().from(attempts).where(eq(attempts.runId, runId)).orderBy(attempts.fence);

/** Kills the supervisor of the newest launch without a word, as a crash of the node's kernel or an operator would. */
async function killSupervisor(runId: string, fence: number): Promise<void> {
  const file = join(workers.home, 'launches', `${runId}.train.${fence}`, 'state', 'supervisor.json');
  const read = () => readFile(file, 'utf8').catch(() => null);
  await workers.until(runId, async () =>
    (await attemptsOf(runId)).some((row) => row.fence === fence && row.status === 'running'),
  );
  await workers.until(runId, async () => (await read()) !== null);
  process.kill((JSON.parse((await read()) ?? '') as { pid: number }).pid, 'SIGKILL');
}

async function loseUntilAttention(name: string): Promise<string> {
  const { projectId, commit } = await workers.createProject(name, { 'train.py': train });
  const runId = await workers.submit(projectId, commit);
  for (const fence of [1, 2, 3, 4]) await killSupervisor(runId, fence);
  await workers.until(runId, (run) => run.status === 'needs-attention');
  return runId;
}

const resolve = (runId: string, action: Resolution['action']) =>
  workers.client.workflow
    .getHandle(runWorkflowId(runId, 1))
    .executeUpdate<void, [Resolution]>(resolveUpdate, { args: [{ action, by: 'grace' }] });

describe('a run whose stage is lost to the infrastructure again and again', () => {
  it('needs attention when its budget is spent, and goes on when a person says retry', async () => {
    const runId = await loseUntilAttention('lost-retry');
    const waiting = await workers.load(runId);
    expect(waiting.waitingReason).toContain('disappeared');
    await resolve(runId, 'retry');
    expect((await workers.finished(runId)).status).toBe('succeeded');
    const statuses = (await attemptsOf(runId)).map(({ status, failure }) => [status, failure?.class ?? null]);
    expect(statuses).toEqual([...Array.from({ length: 4 }, () => ['failed', 'infrastructure']), ['succeeded', null]]);
    await expect(resolve(runId, 'retry')).rejects.toThrow(/completed|failed|closing/);
  });

  it('fails with that class when a person says abort', async () => {
    const runId = await loseUntilAttention('lost-abort');
    await resolve(runId, 'abort');
    const run = await workers.finished(runId);
    expect(run).toMatchObject({ status: 'failed', failure: { class: 'infrastructure', step: 'train' } });
    expect(run.failure?.sentence).toContain('Aborted by grace');
  });
});
