import { eq, sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { admitStage } from '#db/admission.ts';
import { connect, type Connection } from '#db/connect.ts';
import { removeQuota, setQuota, stageUsage } from '#db/quotas.ts';
import { quotas } from '#db/schema/quotas.ts';
import { steps } from '#db/schema/steps.ts';
import { closeStep } from '#db/steps.ts';
import { createTestDatabase, type TestDatabase } from '#test/support/postgres.ts';
import { insertProject, insertWaiting } from './runs-in-database.ts';

let database: TestDatabase;
let connection: Connection;
const none = { runs: null, stages: null, devices: null };

beforeAll(async () => {
  database = await createTestDatabase();
  connection = connect(database.appUrl, { connectionsMax: 20 });
});

afterAll(async () => {
  await connection.close();
  await database.drop();
});

beforeEach(async () => {
  await connection.db.delete(quotas);
  await connection.db.update(steps).set({ status: 'succeeded' });
});

const idOf = (runId: string) => ({ runId, execution: 1, step: 'train' });
const ask = (runId: string) => admitStage(connection.db, idOf(runId));
const waitsFor = async (runId: string) =>
  (await connection.db.select({ for: steps.waitsFor }).from(steps).where(eq(steps.runId, runId)))[0]?.for;
const end = (runId: string) => closeStep(connection.db, idOf(runId), { status: 'succeeded' });

describe('a quota of stages and devices', () => {
  it('holds when many claims ask at once, and is used up', async () => {
    const { db } = connection;
    const project = await insertProject(db, 'many');
    await setQuota(db, { kind: 'project', name: 'many' }, { ...none, stages: 6, devices: 5 }, 'ada');
    const waiting = await Promise.all(
      Array.from({ length: 40 }, (_, n) => insertWaiting(db, project, { owner: `user${n % 4}`, devices: n % 2 })),
    );
    await Promise.all([...waiting, ...waiting].map(ask));
    const [usage] = (await stageUsage(db)).reduce(
      ([sum], { amounts }) => [
        { stages: sum.stages + (amounts.stages ?? 0), devices: sum.devices + (amounts.devices ?? 0) },
      ],
      [{ stages: 0, devices: 0 }],
    );
    expect(usage.stages).toBe(6);
    expect(usage.devices).toBeLessThanOrEqual(5);
  });

  it('goes to who is first, whoever asks first', async () => {
    const { db } = connection;
    const project = await insertProject(db, 'order');
    await setQuota(db, { kind: 'project', name: 'order' }, { ...none, stages: 1 }, 'ada');
    const early = await insertWaiting(db, project);
    const urgent = await insertWaiting(db, project, { priority: 1 });
    const refused = await ask(early);
    expect(refused).toEqual({ sentence: 'waits for quota: project order has 1 of 1 stages', before: 1 });
    expect(await ask(urgent)).toBeNull();
    await end(urgent);
    expect(await ask(early)).toBeNull();
    expect(await waitsFor(early)).toBe('slot');
  });

  it('is released with the step, and admits all there is room for at one look', async () => {
    const { db } = connection;
    const project = await insertProject(db, 'room');
    await setQuota(db, { kind: 'user', name: '*' }, { ...none, devices: 4 }, 'ada');
    const large = await insertWaiting(db, project, { devices: 4 });
    const small = [await insertWaiting(db, project, { devices: 2 }), await insertWaiting(db, project, { devices: 2 })];
    expect(await ask(large)).toBeNull();
    expect(await ask(small[1] ?? '')).toMatchObject({ sentence: 'waits for quota: user ada has 4 of 4 devices' });
    await end(large);
    expect(await ask(small[1] ?? '')).toBeNull();
    expect(await waitsFor(small[0] ?? '')).toBe('slot');
  });

  it('admits everybody when it is removed', async () => {
    const { db } = connection;
    const project = await insertProject(db, 'removed');
    await setQuota(db, { kind: 'project', name: 'removed' }, { ...none, stages: 0 }, 'ada');
    const run = await insertWaiting(db, project);
    expect(await ask(run)).toMatchObject({
      sentence: 'waits for quota: it asks for 1 stage, and project removed may have 0',
    });
    await removeQuota(db, { kind: 'project', name: 'removed' }, 'ada');
    expect(await ask(run)).toBeNull();
  });

  it('does not wait for a run that is being closed at this moment', async () => {
    const { db } = connection;
    const project = await insertProject(db, 'closing');
    await setQuota(db, { kind: 'project', name: 'closing' }, { ...none, stages: 2 }, 'ada');
    const [held, asking] = [await insertWaiting(db, project), await insertWaiting(db, project)];
    await db.transaction(async (tx) => {
      await tx.execute(sql`select 1 from runs where id = ${held} for update`);
      expect(await ask(asking)).toBeNull();
    });
    expect(await ask(held)).toBeNull();
  });
});
