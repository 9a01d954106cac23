// 10,000 deliveries of a git host, 30 % of them doubled and all shuffled, from many clients at once, while the same
// process reads the commits and inserts the runs, as the embedded stack does. Every request is signed; the database is
// durable; server, database and clients share this machine. At the end every commit must have exactly one run.
// The limit: the same rows in one transaction per delivery, straight into the same database, by as many clients.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createHmac, createSecretKey } from 'node:crypto';
import { Agent, request as httpRequest } from 'node:http';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { startApi } from '#api/start.ts';
import { connect } from '#db/connect.ts';
import { createHook } from '#db/hooks.ts';
import { newId } from '#db/ids.ts';
import { deliveries } from '#db/schema/deliveries.ts';
import { projects } from '#db/schema/projects.ts';
import { createMirrors, type Mirrors } from '#git/mirror.ts';
import { createLakeEngine } from '#lake/engine/engine.ts';
import { createDiskStore } from '#storage/disk.ts';
import { createLogger } from '#worker/logger.ts';
import { startSettlingDeliveries } from '#worker/pushes/settle-deliveries.ts';
import { printComparisons, printMachine, quantile, withTemporaryDir } from './report.ts';
import { withPostgres } from './postgres.ts';

const total = Number(process.env['BENCH_DELIVERIES'] ?? 10_000);
const doubled = 0.3;
const clients = 64;
const settleMinutesMax = 20;
const agent = new Agent({ keepAlive: true, maxSockets: clients });
const key = createSecretKey(Buffer.alloc(32));

function openMirrors(dir: string): Mirrors {
  const limits = { sizeBytesMax: 1024 ** 3, filesMax: 1000, timeoutMs: 60_000 };
  return createMirrors({ rootDir: join(dir, 'mirrors'), limits, allowPrivateRemotes: false });
}

/** What the child process does: the API, and what settles deliveries. */
async function serve(dir: string, databaseUrl: string): Promise<void> {
  const connection = connect(databaseUrl, { connectionsMax: 20 });
  const mirrors = openMirrors(dir);
  const running = await startApi(
    { api: { host: '127.0.0.1', port: 0, publicUrl: 'http://127.0.0.1' }, home: dir, runner: { kind: 'process' } },
    {
      connection,
      store: await createDiskStore({ root: join(dir, 'blobs') }),
      mirrors,
      lakeEngine: createLakeEngine({ cacheDir: join(dir, 'lake') }),
      secretsKey: key,
      temporal: { address: '127.0.0.1:1', namespace: 'assay', uiUrl: null },
    },
  );
  startSettlingDeliveries({ connection, mirrors, log: createLogger('warn') });
  process.stdout.write(`${running.url}\n`);
}

async function startServer(dir: string, databaseUrl: string): Promise<{ url: string; child: ChildProcess }> {
  const args = [fileURLToPath(import.meta.url), 'serve', dir, databaseUrl];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const [url] = (await new Promise<Buffer>((resolve) => child.stdout.once('data', resolve))).toString().split('\n');
  return { url: url ?? '', child };
}

/** A repository with this many commits on main, in the project's mirror; answers them, oldest first. */
async function makeCommits(dir: string, projectId: string, count: number): Promise<string[]> {
  const repository = join(dir, 'repository.git');
  const git = (args: string[], input?: string) =>
    execFileSync('git', ['-C', repository, ...args], { input, maxBuffer: 1024 ** 3 }).toString();
  execFileSync('git', ['init', '-q', '--bare', repository]);
  const file = 'stages: { train: { command: python train.py } }\ntriggers: { push: [main] }\n';
  const lines = [`blob\nmark :1\ndata ${Buffer.byteLength(file)}\n${file}`];
  for (let n = 0; n < count; n += 1) {
    const when = 1_700_000_000 + n;
    const message = `commit ${n}`;
    lines.push(
      `commit refs/heads/main\nauthor Ada <ada@example.org> ${when} +0000\ncommitter Ada <ada@example.org> ${when} +0000`,
      `data ${message.length}\n${message}\nM 100644 :1 assay.yaml\nM 100644 inline n.txt\ndata ${String(n).length}\n${n}\n`,
    );
  }
  git(['fast-import', '--quiet'], `${lines.join('\n')}\n`);
  const bundle = join(dir, 'all.bundle');
  git(['bundle', 'create', '-q', bundle, 'main']);
  const commits = git(['rev-list', '--reverse', 'main']).trim().split('\n');
  const mirrors = openMirrors(dir);
  await mirrors.ensure(projectId);
  await mirrors.ingestBundle(projectId, bundle, commits.at(-1) ?? '');
  return commits;
}

interface Sent {
  id: string;
  body: string;
  signature: string;
}

function send(url: string, { id, body, signature }: Sent): Promise<void> {
  return new Promise((resolve, reject) => {
    const headers = {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
      'x-github-event': 'push',
      'x-github-delivery': id,
      'x-hub-signature-256': `sha256=${signature}`,
    };
    const outgoing = httpRequest(url, { method: 'POST', agent, headers }, (response) => {
      response.resume();
      // A delivery that repeats one which was ignored would be answered 200; none is.
      response.once('end', () =>
        response.statusCode === 202 ? resolve() : reject(new Error(`answered ${response.statusCode}`)),
      );
    });
    outgoing.once('error', reject);
    outgoing.end(body);
  });
}

/** As a host sends it, with what nobody here reads. */
function deliveryOf(commit: string, before: string, secret: string): Sent {
  const commits = Array.from({ length: 5 }, () => ({ id: commit, message: 'x'.repeat(200), added: ['a', 'b'] }));
  const body = JSON.stringify({ ref: 'refs/heads/main', before, after: commit, commits, repository: { id: 1 } });
  return { id: `d-${commit}`, body, signature: createHmac('sha256', secret).update(body).digest('hex') };
}

/** Fisher-Yates with a fixed seed (mulberry32), so that two runs send the same order. */
function shuffled<T>(values: readonly T[]): T[] {
  const copy = [...values];
  let state = 42;
  const random = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  for (let n = copy.length - 1; n > 0; n -= 1) {
    const other = Math.floor(random() * (n + 1));
    [copy[n], copy[other]] = [copy[other] as T, copy[n] as T];
  }
  return copy;
}

/** Every client takes the next one when its last was answered; answers the time of each in ms. */
async function byClients<T>(values: readonly T[], task: (value: T) => Promise<unknown>): Promise<number[]> {
  const seen: number[] = [];
  const next = values.values();
  await Promise.all(
    Array.from({ length: clients }, async () => {
      for (const value of next) {
        const start = performance.now();
        await task(value);
        seen.push(performance.now() - start);
      }
    }),
  );
  return seen;
}

async function measure(dir: string, databaseUrl: string): Promise<void> {
  const connection = connect(databaseUrl, { connectionsMax: clients });
  const [id, probe] = [newId(), newId()];
  await connection.db.insert(projects).values([
    { id, name: 'pushed', createdBy: 'bench' },
    { id: probe, name: 'probe', createdBy: 'bench' },
  ]);
  const unique = Math.round(total * (1 - doubled));
  const commits = await makeCommits(dir, id, unique);
  const { secret } = await createHook(connection.db, key, { projectId: id, by: 'bench' }, null);
  const all = commits.map((commit, n) => deliveryOf(commit, commits[n - 1] ?? '0'.repeat(40), secret));
  const order = shuffled([...all, ...all.slice(0, total - unique)]);

  const probed = performance.now();
  await byClients(all.slice(0, 2000), (one) =>
    connection.db.insert(deliveries).values({
      id: newId(),
      projectId: probe,
      source: 'poll',
      deliveryId: one.id,
      outcome: 'ignored',
      reason: 'a probe',
    }),
  );
  const alone = Math.min(2000, unique) / ((performance.now() - probed) / 1000);

  const { url, child } = await startServer(dir, databaseUrl);
  try {
    const start = performance.now();
    const times = await byClients(order, (one) => send(`${url}/api/v1/hooks/github/pushed`, one));
    const seconds = (performance.now() - start) / 1000;
    const settleSeconds = await untilSettled(connection.pool, id, start);
    const counted = await connection.pool.query<Record<string, number>>(
      `select (select count(*)::int from deliveries where project_id = $1) as deliveries,
              (select count(*)::int from deliveries where project_id = $1 and outcome = 'run') as ran,
              (select count(*)::int from runs where project_id = $1) as runs,
              (select count(distinct commit)::int from runs where project_id = $1) as commits`,
      [id],
    );
    const { deliveries: kept = 0, ran = 0, runs = 0, commits: distinct = 0 } = counted.rows[0] ?? {};
    printComparisons(`${order.length} deliveries, ${order.length - unique} doubled, ${clients} clients`, [
      { what: 'p50', ours: quantile(times, 0.5), unit: 'ms' },
      { what: 'p99', ours: quantile(times, 0.99), unit: 'ms', against: { name: 'aim', value: 1000 }, aim: '≤ 1' },
      { what: 'slowest', ours: Math.max(...times), unit: 'ms' },
      {
        what: 'taken in',
        ours: order.length / seconds,
        unit: '/s',
        against: { name: 'a transaction each', value: alone },
      },
      { what: 'settled', ours: unique / settleSeconds, unit: '/s' },
      { what: 'runs', ours: runs, unit: '', against: { name: 'commits', value: unique }, aim: '= 1' },
    ]);
    const exact = [kept, ran, runs, distinct].every((count) => count === unique);
    console.log(
      `kept ${kept}, became runs ${ran}, runs ${runs}, distinct commits ${distinct}, expected ${unique} each`,
    );
    if (!exact) process.exitCode = 1;
  } finally {
    child.kill();
    await connection.close();
  }
}

/** Seconds from `startMs` until nothing waits any more. */
async function untilSettled(pool: ReturnType<typeof connect>['pool'], id: string, startMs: number): Promise<number> {
  const end = startMs + settleMinutesMax * 60_000;
  for (;;) {
    const left = await pool.query(`select 1 from deliveries where project_id = $1 and outcome = 'accepted' limit 1`, [
      id,
    ]);
    if (left.rowCount === 0) return (performance.now() - startMs) / 1000;
    if (performance.now() > end) throw new Error(`Deliveries still waited after ${settleMinutesMax} minutes.`);
    await pause(250);
  }
}

const [, , mode, dirGiven = '', urlGiven = ''] = process.argv;
if (mode === 'serve') await serve(dirGiven, urlGiven);
else {
  await withTemporaryDir(async (dir) => {
    printMachine();
    await withPostgres(dir, (url) => measure(dir, url));
    agent.destroy();
  });
}
