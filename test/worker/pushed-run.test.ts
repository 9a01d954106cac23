import { afterAll, beforeAll, expect, test } from 'vitest';
import { createDeliveryIntake } from '#db/deliveries.ts';
import { startTestWorkers, type TestWorkers } from '#test/support/workers.ts';
import { until } from '#test/support/stack.ts';
import { runs } from '#db/schema/runs.ts';
import { eq } from 'drizzle-orm';

let workers: TestWorkers;
beforeAll(async () => {
  workers = await startTestWorkers();
});
afterAll(() => workers.stop());

test('a delivery becomes a run that the workers carry to its end', async () => {
  const { projectId, commit } = await workers.createProject('pushed', {
    'assay.yaml': 'stages: { train: { command: python train.py } }\ntriggers: { push: [main] }\n',
    'train.py': 'print("trained")\n',
  });
  const takeIn = createDeliveryIntake(workers.connection.pool);
  const push = { ref: 'refs/heads/main', branch: 'main', before: null, commit, reason: null };
  const both = await Promise.all(
    ['one', 'two'].map((deliveryId) => takeIn({ projectId, source: 'generic', deliveryId, ...push })),
  );
  const ofProject = () => workers.db.select().from(runs).where(eq(runs.projectId, projectId));
  await until(async () => (await ofProject()).length > 0);
  const [run] = await ofProject();
  const ended = await workers.finished(run!.id);
  expect(ended).toMatchObject({
    status: 'succeeded',
    commit,
    branch: 'main',
    trigger: { kind: 'push', branch: 'main' },
  });
  expect(both.map((taken) => taken.id)).toContain((ended.trigger as { delivery: string }).delivery);
  expect(await ofProject()).toHaveLength(1);
});
