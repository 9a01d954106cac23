// The whole stack as processes: ticks are fired while worker, Temporal and Postgres are killed, and come twice besides.
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, Connection, ScheduleNotFoundError, ScheduleOverlapPolicy } from '@temporalio/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connect, type Connection as DatabaseConnection } from '#db/connect.ts';
import { freePort } from '#embedded/ports.ts';
import { mirrorId } from '#schedules/mirror.ts';
import { type AssayProcess, assayProcess, servicesOf } from '../support/assay-process.ts';
import { changeScheduleRow, insertProject, insertSchedule, isoOf, runsOf, ticksOf } from '../support/schedules.ts';
import { until } from '../support/stack.ts';

let home: string;
let assay: AssayProcess;
let database: DatabaseConnection;

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'assay-schedules-'));
  await chmod(home, 0o711);
  assay = assayProcess(home, await freePort());
  await assay.start();
  database = connect((await servicesOf(home)).ownerUrl);
});

afterAll(async () => {
  await database.close();
  await assay.end('SIGTERM');
  await rm(home, { recursive: true, force: true });
});

/** A client for one use: its server is killed and started again between uses. */
async function withTemporal<T>(use: (client: Client) => Promise<T>): Promise<T> {
  const connection = await Connection.connect({ address: (await servicesOf(home)).temporal });
  try {
    return await use(new Client({ connection, namespace: 'assay' }));
  } finally {
    await connection.close();
  }
}

/** Repeats what fails because its server was just killed. */
async function insist<T>(act: () => Promise<T>): Promise<T> {
  let result: { value: T } | undefined;
  await until(async () => {
    result = await act().then(
      (value) => ({ value }),
      () => undefined,
    );
    return result !== undefined;
  });
  if (result === undefined) throw new Error('it never worked');
  return result.value;
}

const isMirrored = async (id: string) =>
  await insist(() =>
    withTemporal((client) =>
      client.schedule
        .getHandle(mirrorId(id))
        .describe()
        .then(() => true)
        .catch((error: unknown) => {
          if (error instanceof ScheduleNotFoundError) return false;
          throw error;
        }),
    ),
  );

async function kill(kind: string): Promise<void> {
  if (kind === 'main') {
    await assay.end('SIGKILL');
    await assay.start();
    return;
  }
  await until(() => assay.find(kind).length > 0);
  const [target] = assay.find(kind);
  if (target !== undefined) process.kill(target.pid, 'SIGKILL');
}

describe('ticks while everything is killed', () => {
  it('start one run each, although all of them are delivered twice', async () => {
    const projectId = await insist(() => insertProject(database.db));
    const id = await insertSchedule(database.db, projectId);
    await until(() => isMirrored(id));
    await changeScheduleRow(database.db, id, { catchUpSeconds: 400 * 86_400 });
    const due = Array.from({ length: 30 }, (_, minute) => new Date(Date.UTC(2026, 5, 1, 0, minute + 1)).toISOString());
    const overlap = ScheduleOverlapPolicy.ALLOW_ALL;
    const range = { start: new Date('2026-06-01T00:00:00Z'), end: new Date('2026-06-01T00:30:00Z'), overlap };
    const backfill = () =>
      withTemporal(async (client) => {
        const handle = client.schedule.getHandle(mirrorId(id));
        await handle.update((schedule) => ({ ...schedule, spec: { cronExpressions: ['* * * * *'], timezone: 'UTC' } }));
        await handle.backfill([range]);
      });
    for (const kind of ['main', 'postgres', 'temporal', 'backend'] as const) {
      await insist(backfill);
      await kill(kind);
    }
    await insist(backfill);
    const decided = async () => {
      const times = (await insist(() => ticksOf(database.db, id))).map(({ nominalAt }) => nominalAt);
      return due.every((time) => times.includes(time));
    };
    await until(decided, 120_000);
    const ticks = (await ticksOf(database.db, id)).filter(({ nominalAt }) => due.includes(nominalAt));
    const runs = (await runsOf(database.db, projectId)).filter(({ asOf }) => due.includes(isoOf(asOf)));
    expect(new Set(ticks.map(({ runId }) => runId))).toEqual(new Set(runs.map(({ id: runId }) => runId)));
    expect(ticks.map(({ nominalAt }) => nominalAt)).toEqual(due);
    expect(runs.map(({ asOf }) => isoOf(asOf)).toSorted()).toEqual(due);
  }, 240_000);

  it('that were missed are made up for within the catch-up window, once, and others are not', async () => {
    const projectId = await insertProject(database.db);
    const activeSince = new Date().toISOString();
    const windowMs = 20_000;
    const values = { cron: '*/2 * * * * * *', catchUpSeconds: windowMs / 1000, activeSince };
    const id = await insertSchedule(database.db, projectId, values);
    await until(async () => (await ticksOf(database.db, id)).length >= 2);
    await assay.end('SIGKILL');
    const stoppedAt = Date.now();
    // The guard takes the servers down with the process; they stay down for longer than the window.
    await until(() => Date.now() - stoppedAt > windowMs + 10_000);
    await assay.start();
    const startedAt = Date.now();
    await until(async () => {
      const last = (await insist(() => ticksOf(database.db, id))).at(-1);
      return Date.parse(last?.nominalAt ?? '') > startedAt;
    });
    await changeScheduleRow(database.db, id, { deletedAt: new Date() });
    const started = (await ticksOf(database.db, id)).filter(({ runId }) => runId !== null);
    const runs = await runsOf(database.db, projectId);
    expect(runs.map((run) => isoOf(run.asOf)).toSorted()).toEqual(started.map(({ nominalAt }) => nominalAt));
    for (const { nominalAt, decidedAt } of started)
      expect(decidedAt.getTime() - Date.parse(nominalAt)).toBeLessThan(windowMs + 1_000);
    const dueWithin = (fromMs: number, toMs: number) =>
      started.filter(({ nominalAt }) => Date.parse(nominalAt) > fromMs && Date.parse(nominalAt) < toMs);
    // The guard gives the servers some seconds to stop.
    expect(dueWithin(stoppedAt + 5_000, stoppedAt + 10_000)).toEqual([]);
    expect(dueWithin(stoppedAt + 10_000, startedAt).length).toBeGreaterThan(0);
  }, 180_000);

  it('come again after Temporal has lost its database, with what it missed', async () => {
    const projectId = await insist(() => insertProject(database.db));
    const activeSince = new Date().toISOString();
    const values = { cron: '*/5 * * * * * *', catchUpSeconds: 600, activeSince };
    const id = await insertSchedule(database.db, projectId, values);
    await until(async () => (await ticksOf(database.db, id)).length >= 2);
    await assay.end('SIGKILL');
    await until(() => assay.find('temporal').length === 0);
    await insist(() => rm(join(home, 'temporal'), { recursive: true }));
    await assay.start();
    const startedAt = Date.now();
    await until(async () => {
      const last = (await insist(() => ticksOf(database.db, id))).at(-1);
      return Date.parse(last?.nominalAt ?? '') > startedAt + 10_000;
    });
    await changeScheduleRow(database.db, id, { deletedAt: new Date() });
    const ticks = (await ticksOf(database.db, id)).filter(({ runId }) => runId !== null);
    const times = ticks.map(({ nominalAt }) => Date.parse(nominalAt));
    const gaps = times.slice(1).map((time, index) => time - (times[index] ?? 0));
    expect(new Set(gaps)).toEqual(new Set([5_000]));
    expect(await runsOf(database.db, projectId)).toHaveLength(ticks.length);
  }, 180_000);
});
