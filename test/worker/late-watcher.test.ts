// A stage that ends while nobody watches: the worker was killed, or the machine slept.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Runner, StageHandle } from '#activities/runners/runner.ts';
import { startTestWorkers, type TestWorkers } from '../support/workers.ts';

let workers: TestWorkers;

beforeAll(async () => {
  workers = await startTestWorkers({ runner: seenLate });
});

afterAll(async () => {
  await workers.stop();
});

/** Tells of an end only when the timeout of the stage below is over. */
function seenLate(runner: Runner): Runner {
  const late = (handle: StageHandle): StageHandle => ({
    ...handle,
    wait: async (abort) => {
      const exit = await handle.wait(abort);
      await sleep(3_000);
      return exit;
    },
  });
  return { ...runner, start: async (spec) => late(await runner.start(spec)) };
}

it('that ended within its timeout has not timed out, however late its end is seen', async () => {
  const projectFile = `stages: { train: { command: 'echo done > done.txt', timeout: 2s, outputs: [done.txt] } }\n`;
  const { projectId, commit } = await workers.createProject('late', { 'assay.yaml': projectFile });
  const run = await workers.finished(await workers.submit(projectId, commit));
  expect(run).toMatchObject({ status: 'succeeded', failure: null });
});
