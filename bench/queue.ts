// What a long queue costs: 10,000 runs that wait for a quota, submitted over HTTP to the whole stack. Held against the
// same stack while it is empty. Then one slot that many stages want: from its end of one to the start of the next.
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { connect } from '#db/connect.ts';
import { takeForDispatch } from '#db/dispatch.ts';
import type { Client } from '#sdk/client.ts';
import {
  type Comparison,
  median,
  printComparisons,
  printMachine,
  quantile,
  timeMs,
  withTemporaryDir,
} from './report.ts';
import { createRepository } from './repository.ts';
import { type BenchStack, followToEnd, startBenchStack } from './stack.ts';

const queuedRuns = Number(process.env['BENCH_RUNS'] ?? 10_000);
const submitters = 8;
const requestsPerSecond = 20;
const seconds = 20;
const looks = 100;
const handovers = 15;
const restMs = 15_000;
const mib = 1024 ** 2;

async function provideCode(client: Client, dir: string): Promise<string> {
  const { checkout, commit } = await createRepository(client, 'slot', dir);
  await writeFile(join(checkout, 'assay.yaml'), "stages: { train: { command: 'sleep 2', outputs: [] } }\n");
  for (const name of ['queued', 'probe']) await client.projects.create({ name, defaultBranch: 'main' });
  return await commit();
}

/** What people do while others wait; requests are due at fixed times, so waiting counts as latency. */
async function latencies(client: Client, runId: string): Promise<number[]> {
  const acts = [
    () => client.runs.list({ limit: 50 }),
    () => client.runs.get(runId),
    () => client.runs.list({ project: 'queued', status: 'queued', limit: 50 }),
    () => client.runs.submit('probe', { ref: 'main' }, { idempotencyKey: randomUUID() }),
  ];
  const seen: number[] = [];
  const pending: Array<Promise<void>> = [];
  const start = performance.now();
  const total = requestsPerSecond * seconds;
  for (let sent = 0; sent < total; ) {
    for (const due = ((performance.now() - start) / 1000) * requestsPerSecond; sent < due && sent < total; sent += 1) {
      const dueAt = start + (sent / requestsPerSecond) * 1000;
      const act = acts[sent % acts.length] as () => Promise<unknown>;
      pending.push(act().then(() => void seen.push(performance.now() - dueAt)));
    }
    await pause(1);
  }
  await Promise.all(pending);
  return seen;
}

async function submitMany(client: Client, count: number): Promise<number> {
  let left = count;
  const start = performance.now();
  await Promise.all(
    Array.from({ length: submitters }, async () => {
      while (left > 0) {
        left -= 1;
        await client.runs.submit('queued', { ref: 'main', tags: ['bench'] }, { idempotencyKey: randomUUID() });
      }
    }),
  );
  return count / ((performance.now() - start) / 1000);
}

function memoryMib({ pid }: BenchStack): number {
  const line = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8')
    .split('\n')
    .find((text) => text.startsWith('Pss:'));
  return (Number(line?.split(/\s+/)[1]) * 1024) / mib;
}

async function databaseUrl(home: string): Promise<string> {
  const ports = JSON.parse(await readFile(join(home, 'ports.json'), 'utf8')) as { postgres: number };
  const state = JSON.parse(await readFile(join(home, 'postgres.json'), 'utf8')) as {
    passwords: { assay_owner: string };
  };
  return `postgres://assay_owner:${state.passwords.assay_owner}@127.0.0.1:${ports.postgres}/assay`;
}

/** One look of the dispatcher that finds nobody admitted. */
async function lookMs(url: string): Promise<number> {
  const connection = connect(url, { connectionsMax: 1 });
  const look = () => takeForDispatch(connection.db, { max: 50, staleMs: 5_000 });
  for (let n = 0; n < 10; n += 1) await look();
  const times: number[] = [];
  for (let n = 0; n < looks; n += 1) times.push(await timeMs(look));
  await connection.close();
  return median(times);
}

interface Handovers {
  opened: number[];
  started: number[];
  /** From an attempt to its command, whether or not anything waited: what any launch takes on this machine. */
  launches: number[];
}

/** From the recorded end of one stage to the moment the next command runs, in milliseconds. */
async function measureHandovers(client: Client, commit: string): Promise<Handovers> {
  const ids: string[] = [];
  while (ids.length < handovers) ids.push((await client.runs.submit('slot', { commit, ref: 'main' })).id);
  const found = [];
  for (const id of ids) {
    await followToEnd(client, id);
    const { steps } = await client.runs.get(id);
    const [attempt] = steps.find(({ name }) => name === 'train')?.attempts ?? [];
    const waitedSince = steps.find(({ name }) => name === 'build-environment')?.finishedAt;
    if (attempt?.startedAt == null || attempt.finishedAt === null)
      throw new Error(`The run ${id} has no attempt that ended.`);
    found.push({ ...attempt, waitedSince, startedAt: attempt.startedAt, finishedAt: attempt.finishedAt });
  }
  const inOrder = found.toSorted((a, b) => Date.parse(a.createdAt) - Date.parse(b.createdAt));
  const pairs = inOrder.slice(1).flatMap((next, n) => {
    const before = inOrder[n];
    // Only a stage that was waiting when the slot became free tells how long the handover takes.
    const waited = before !== undefined && Date.parse(next.waitedSince ?? '') < Date.parse(before.finishedAt) - 500;
    return waited ? [{ before, next }] : [];
  });
  const gaps = (end: (next: { createdAt: string; startedAt: string }) => string) =>
    pairs.map(({ before, next }) => Date.parse(end(next)) - Date.parse(before.finishedAt));
  return {
    opened: gaps((next) => next.createdAt),
    started: gaps((next) => next.startedAt),
    launches: inOrder.map(({ createdAt, startedAt }) => Date.parse(startedAt) - Date.parse(createdAt)),
  };
}

/** Submits spread over projects and users, none of which may run. */
async function measure(stack: BenchStack, home: string, dir: string): Promise<Comparison[]> {
  const { client } = stack;
  const commit = await provideCode(client, dir);
  for (const name of ['queued', 'probe']) await client.quotas.set('project', name, { runs: 0 });
  const { id } = await client.runs.submit('queued', { ref: 'main' });
  const url = await databaseUrl(home);
  // Caches and compiled code are there before anything is measured.
  await latencies(client, id);
  await pause(restMs);
  const idle = { p99: quantile(await latencies(client, id), 0.99), memory: memoryMib(stack), look: await lookMs(url) };
  // Half of them first: what the process takes for having served so many requests is not what the queue costs.
  const half = Math.floor(queuedRuns / 2);
  await submitMany(client, half);
  await pause(restMs);
  const memoryAtHalf = memoryMib(stack);
  const rate = await submitMany(client, queuedRuns - half);
  await pause(restMs);
  const full = { p99: quantile(await latencies(client, id), 0.99), memory: memoryMib(stack), look: await lookMs(url) };
  const connection = connect(url, { connectionsMax: 1 });
  const { rows } = await connection.pool.query<{ n: number }>(
    "select count(*)::int n from executions where dispatch = 'queued'",
  );
  await connection.close();
  const slot = await measureHandovers(client, commit);
  const empty = (value: number) => ({ name: 'with an empty queue', value });
  return [
    { what: 'runs queued', ours: rows[0]?.n ?? 0, unit: '' },
    { what: `submits, ${submitters} at a time`, ours: rate, unit: '/s' },
    { what: 'API p99', ours: full.p99, unit: 'ms', against: empty(idle.p99), aim: '≤ 2' },
    { what: 'API and workers, memory', ours: full.memory, unit: 'MiB', against: empty(idle.memory) },
    {
      what: 'API and workers, memory',
      ours: full.memory,
      unit: 'MiB',
      against: { name: 'with half of the queue', value: memoryAtHalf },
      aim: '≤ 1.1',
    },
    { what: "dispatcher's look", ours: full.look, unit: 'ms', against: empty(idle.look), aim: '≤ 1.5' },
    { what: `slot free to next attempt, p50 of ${slot.opened.length}`, ours: median(slot.opened), unit: 'ms' },
    {
      what: 'slot free to next stage started, p50',
      ours: median(slot.started),
      unit: 'ms',
      against: { name: 'launching it alone', value: median(slot.launches) },
      aim: '≤ 200 ms',
    },
    { what: 'slot free to next stage started, worst', ours: Math.max(...slot.started), unit: 'ms' },
  ];
}

await withTemporaryDir(async (dir) => {
  printMachine();
  process.env['ASSAY_SLOTS'] = '1';
  const home = join(dir, 'home');
  const stack = await startBenchStack(home);
  try {
    printComparisons(`queue: ${queuedRuns} runs that wait for a quota`, await measure(stack, home, dir));
  } finally {
    await stack.stop();
  }
});
