// A disk that is nearly full: here, one whose reserve is larger than any disk.
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { attempts } from '#db/schema/steps.ts';
import { startTestWorkers, type TestWorkers } from '../support/workers.ts';

let workers: TestWorkers;

beforeAll(async () => {
  workers = await startTestWorkers({ slots: 2, diskReserveBytes: 2 ** 52 });
});

afterAll(async () => {
  await workers.stop();
});

async function runTo(name: string, script: string) {
  const yaml = 'stages: { train: { command: python train.py, outputs: [] } }\n';
  const { projectId, commit } = await workers.createProject(name, { 'train.py': script, 'assay.yaml': yaml });
  const runId = await workers.submit(projectId, commit);
  return await workers.finished(runId);
}

describe('the guard of the disk', () => {
  it('stops the stage that takes most of it, says so, and leaves a small one alone', async () => {
    const large = `
import os, time
with open("big", "wb") as file: file.write(os.urandom(80 * 2**20))
time.sleep(600)
`;
    const small = 'import time\nopen("small", "w").write("x")\ntime.sleep(6)\n';
    const [filled, spared] = await Promise.all([runTo('fills', large), runTo('spared', small)]);
    expect(filled.failure).toMatchObject({
      class: 'resources',
      sentence: expect.stringMatching(/^train was stopped because the disk of its node was nearly full .* 8\d MiB;/),
    });
    expect(spared.status).toBe('succeeded');
    const rows = await workers.db.select().from(attempts).where(eq(attempts.runId, filled.id));
    expect(rows).toHaveLength(1);
  });
});
