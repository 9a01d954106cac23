import { eq, sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { FailureClass } from '#core/run.ts';
import { connect, type Connection } from '#db/connect.ts';
import { drainNode, listNodes, listPools, putAsideIfFailing, registerNode, renewNode, resumeNode } from '#db/nodes.ts';
import { nodes } from '#db/schema/nodes.ts';
import { attempts } from '#db/schema/steps.ts';
import { createTestDatabase, type TestDatabase } from '#test/support/postgres.ts';
import { insertProject, insertQueued } from './runs-in-database.ts';

let database: TestDatabase;
let connection: Connection;
let project = '';
let fence = 0;
const shape = { cpus: 4, memoryGib: 16, accelerator: null, devices: 0 };
const leaseMs = 60_000;

beforeAll(async () => {
  database = await createTestDatabase();
  connection = connect(database.appUrl, { connectionsMax: 20 });
  project = await insertProject(connection.db, 'digits');
});

afterAll(async () => {
  await connection.close();
  await database.drop();
});

const node = (id: string, pool: string, more: Partial<typeof shape> = {}) => ({
  id,
  pool,
  host: id,
  slots: 2,
  shape: { ...shape, ...more },
  devices: [],
  hardware: {},
});

async function launch(nodeId: string, runId: string, end: FailureClass | 'succeeded', facts = {}): Promise<boolean> {
  fence += 1;
  const failure = {
    class: end as FailureClass,
    sentence: `launch ${fence} ended`,
    step: 'train',
    logTail: [],
    exitCode: null,
  };
  await connection.db.insert(attempts).values({
    runId,
    step: 'train',
    fence,
    execution: 1,
    nodeId,
    pool: 'x',
    status: end === 'succeeded' ? 'succeeded' : 'failed',
    launch: `${runId}.${fence}`,
    leaseExpiresAt: new Date(),
    createdAt: sql`clock_timestamp()` as unknown as Date,
    failure: end === 'succeeded' ? null : failure,
    facts,
  });
  return await putAsideIfFailing(connection.db, nodeId);
}

async function started(id: string): Promise<[string, string]> {
  await registerNode(connection.db, node(id, id), leaseMs);
  return [await insertQueued(connection.db, project), await insertQueued(connection.db, project)];
}

const stateOf = async (id: string) => (await connection.db.select().from(nodes).where(eq(nodes.id, id)))[0];

describe('a node is put aside', () => {
  it('when its last three launches failed by infrastructure, with the newest reason, until it is resumed', async () => {
    const [one, other] = await started('bad');
    const ends = [
      await launch('bad', one, 'infrastructure'),
      await launch('bad', other, 'infrastructure'),
      await launch('bad', one, 'infrastructure'),
    ];
    expect(ends).toEqual([false, false, true]);
    const row = await stateOf('bad');
    expect(row).toMatchObject({ state: 'aside', stateBy: 'assay' });
    expect(row?.stateReason).toBe(`its last 3 launches failed by infrastructure; the newest: launch ${fence} ended`);
    expect((await renewNode(connection.db, node('bad', 'bad'), leaseMs)).state).toBe('aside');
    await resumeNode(connection.db, { id: 'bad', by: 'grace' });
    expect(await launch('bad', other, 'infrastructure')).toBe(false);
  });

  it.each([
    ['one succeeded', 'mixed', ['infrastructure', 'succeeded', 'infrastructure']],
    ['one failed by its own code', 'users', ['infrastructure', 'user', 'infrastructure']],
  ] as const)('but not when of the last three %s', async (_what, id, ends) => {
    const [one, other] = await started(id);
    for (const [n, end] of ends.entries()) expect(await launch(id, n % 2 === 0 ? one : other, end)).toBe(false);
  });

  it('but not by the repetitions of one run', async () => {
    const [one] = await started('poisoned');
    for (let n = 0; n < 5; n += 1) expect(await launch('poisoned', one, 'infrastructure')).toBe(false);
  });

  it('but not for launches that were drained, or made before its last start', async () => {
    const [one, other] = await started('restarted');
    for (const run of [one, other]) await launch('restarted', run, 'infrastructure');
    await registerNode(connection.db, node('restarted', 'restarted'), leaseMs);
    expect(await launch('restarted', one, 'infrastructure')).toBe(false);
    expect(await launch('restarted', other, 'infrastructure', { drained: true })).toBe(false);
    expect(await launch('restarted', other, 'infrastructure', { drained: true })).toBe(false);
  });

  it('and so is one on which nothing starts for want of disk', async () => {
    const [one, other] = await started('full');
    for (const run of [one, other]) await launch('full', run, 'resources', { started: false });
    expect(await launch('full', one, 'resources', { started: false })).toBe(true);
  });
});

describe('a pool', () => {
  it('has one shape, also when two nodes of different shapes start at once', async () => {
    const results = await Promise.allSettled([
      registerNode(connection.db, node('small', 'race'), leaseMs),
      registerNode(connection.db, node('large', 'race', { cpus: 8 }), leaseMs),
    ]);
    const refused = results.filter((result) => result.status === 'rejected');
    expect(refused).toHaveLength(1);
    expect(refused[0]?.reason).toMatchObject({ code: 'shape-mismatch' });
  });

  it('takes another shape when none of its nodes lives any more', async () => {
    await registerNode(connection.db, node('former', 'grown'), -1);
    await registerNode(connection.db, node('later', 'grown', { cpus: 16 }), leaseMs);
    const pool = (await listPools(connection.db)).find(({ pool: name }) => name === 'grown');
    expect(pool?.shape.cpus).toBe(16);
  });
});

it('what a node was told outlasts its restart', async () => {
  await registerNode(connection.db, node('told', 'told'), leaseMs);
  await drainNode(connection.db, { id: 'told', by: 'grace', now: true, reason: null });
  expect(await registerNode(connection.db, node('told', 'told'), leaseMs)).toMatchObject({
    state: 'draining',
    stopsStages: true,
  });
  expect((await listNodes(connection.db, false)).map(({ id }) => id)).toContain('told');
});
