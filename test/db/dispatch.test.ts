import { eq, inArray, sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { connect, type Connection } from '#db/connect.ts';
import { takeForDispatch } from '#db/dispatch.ts';
import { closeExecution } from '#db/executions.ts';
import { setQuota } from '#db/quotas.ts';
import { quotas } from '#db/schema/quotas.ts';
import { executions } from '#db/schema/runs.ts';
import { explainWaiting, placeOfQueued } from '#db/waiting.ts';
import { createTestDatabase, type TestDatabase } from '#test/support/postgres.ts';
import { insertProject, insertQueued } from './runs-in-database.ts';

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
  await connection.db.update(executions).set({ dispatch: 'closed' });
});

const take = async (max = 50) =>
  (await takeForDispatch(connection.db, { max, staleMs: 60_000 })).map(({ runId }) => runId);
const close = (runId: string) =>
  closeExecution(connection.db, { runId, n: 1, status: 'succeeded', failure: null, skipReason: '' });

describe('without quotas', () => {
  it('everything is taken, by priority and then in the order of submits', async () => {
    const project = await insertProject(connection.db, 'ordered');
    const third = await insertQueued(connection.db, project);
    const fourth = await insertQueued(connection.db, project);
    const second = await insertQueued(connection.db, project, { priority: 2 });
    const first = await insertQueued(connection.db, project, { priority: 1 });
    const taken: string[] = [];
    for (let i = 0; i < 4; i += 1) taken.push(...(await take(1)));
    expect(taken).toEqual([first, second, third, fourth]);
    expect(await take()).toEqual([]);
  });

  it('what a dispatcher left in between is taken again', async () => {
    const run = await insertQueued(connection.db, await insertProject(connection.db, 'left'));
    expect(await take()).toEqual([run]);
    await connection.db
      .update(executions)
      .set({ dispatchedAt: new Date(Date.now() - 61_000) })
      .where(eq(executions.runId, run));
    expect(await take()).toEqual([run]);
  });
});

describe('a quota of runs', () => {
  it('holds in a burst of 200 submits with two dispatchers, and every run gets its turn', async () => {
    const { db } = connection;
    const project = await insertProject(db, 'burst');
    await setQuota(db, { kind: 'project', name: 'burst' }, { ...none, runs: 12 }, 'ada');
    await setQuota(db, { kind: 'user', name: '*' }, { ...none, runs: 5 }, 'ada');
    const owners = ['ada', 'grace', 'linus'];
    const underWay = async () =>
      (
        await db
          .select({ owner: executions.owner })
          .from(executions)
          .where(inArray(executions.dispatch, ['starting', 'started']))
      ).map(({ owner }) => owner);
    const ended = new Set<string>();
    let most = 0;
    let inserted = false;
    const dispatcher = async () => {
      while (ended.size < 200) {
        const taken = await take(5);
        const now = await underWay();
        most = Math.max(most, now.length);
        for (const owner of owners) expect(now.filter((other) => other === owner).length).toBeLessThanOrEqual(5);
        for (const runId of taken) {
          await close(runId);
          ended.add(runId);
        }
        if (inserted && taken.length === 0) await new Promise((resolve) => setImmediate(resolve));
      }
    };
    const submits = Promise.all(
      Array.from({ length: 200 }, (_, n) => insertQueued(db, project, { owner: owners[n % 3] ?? '' })),
    ).then(() => {
      inserted = true;
    });
    await Promise.all([submits, dispatcher(), dispatcher()]);
    expect(ended.size).toBe(200);
    expect(most).toBeLessThanOrEqual(12);
    expect(most).toBeGreaterThan(1);
  });

  it('lets a user with nothing under way pass one with many queued', async () => {
    const { db } = connection;
    const project = await insertProject(db, 'shared');
    await setQuota(db, { kind: 'project', name: 'shared' }, { ...none, runs: 2 }, 'ada');
    for (let i = 0; i < 5; i += 1) await insertQueued(db, project, { owner: 'ada' });
    const first = await take(1);
    const grace = await insertQueued(db, project, { owner: 'grace' });
    expect(first).toHaveLength(1);
    expect(await take()).toEqual([grace]);
  });

  it('is released in the transaction that closes the run', async () => {
    const { db } = connection;
    const project = await insertProject(db, 'released');
    await setQuota(db, { kind: 'project', name: 'released' }, { ...none, runs: 1 }, 'ada');
    const first = await insertQueued(db, project);
    const second = await insertQueued(db, project);
    expect(await take()).toEqual([first]);
    expect(await take()).toEqual([]);
    await close(first);
    expect(await take()).toEqual([second]);
  });

  it('is why a run is shown as waiting, with its place', async () => {
    const { db } = connection;
    const project = await insertProject(db, 'shown');
    await setQuota(db, { kind: 'project', name: 'shown' }, { ...none, runs: 1 }, 'ada');
    const [, , last] = [
      await insertQueued(db, project),
      await insertQueued(db, project),
      await insertQueued(db, project),
    ];
    await take();
    const run = { id: last, status: 'queued' as const, project: 'shown', owner: 'ada', waitingReason: null };
    expect(await explainWaiting(db, [run])).toEqual(
      new Map([[last, 'waits for quota: project shown has 1 of 1 runs']]),
    );
    expect(await placeOfQueued(db, last)).toEqual({ place: 2, of: 2 });
  });
});

it('a look takes the same work however much is queued', async () => {
  // Of one session, whose counts are there when it asks for them.
  const session = connect(database.appUrl, { connectionsMax: 1 });
  const { db } = session;
  const project = await insertProject(db, 'long');
  await setQuota(db, { kind: 'project', name: 'long' }, { ...none, runs: 1 }, 'ada');
  await insertQueued(db, project);
  await take();
  const grow = (from: number, to: number) =>
    db.execute(sql`
    with new as (insert into runs (id, project_id, number, owner, ref, as_of, overrides)
      select gen_random_uuid(), ${project}::uuid, 100000 + i, 'user' || i % 5, 'main', now(), '{}' from generate_series(${from}::int, ${to}::int) i
      returning id, project_id, owner, priority)
    insert into executions (run_id, n, project_id, owner, priority) select id, 1, project_id, owner, priority from new`);
  const blocksOf = async () => {
    await db.execute(sql`select pg_stat_force_next_flush()`);
    const before = await blocks();
    for (let i = 0; i < 20; i += 1) expect(await takeForDispatch(db, { max: 50, staleMs: 60_000 })).toEqual([]);
    await db.execute(sql`select pg_stat_force_next_flush()`);
    return (await blocks()) - before;
  };
  const blocks = async () => {
    const { rows } = await db.execute<{ blocks: string }>(sql`
      select sum(heap_blks_hit + heap_blks_read + idx_blks_hit + idx_blks_read) as blocks from pg_statio_user_tables
      where relname = 'executions'`);
    return Number(rows[0]?.blocks);
  };
  await grow(1, 100);
  const few = await blocksOf();
  await grow(101, 10_000);
  const many = await blocksOf();
  await session.close();
  expect(few).toBeGreaterThan(0);
  expect(many).toBeLessThan(few * 2);
}, 120_000);
