// How many submits are accepted per second, and how long one takes at half of that. Server, database and clients share
// this machine, the database is durable, and every request is an HTTP request with a token.
// The limit: the same rows in one transaction per run, straight into the same database, by as many clients.
// The peer: MLflow's create-run. Set MLFLOW_PYTHON to a Python that has mlflow to measure it here; otherwise the figure
// recorded on two cores stands in for it.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createSecretKey } from 'node:crypto';
import { Agent, request as httpRequest } from 'node:http';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { startApi } from '#api/start.ts';
import { connect, type Connection } from '#db/connect.ts';
import { newId } from '#db/ids.ts';
import { projects } from '#db/schema/projects.ts';
import { executions, runs } from '#db/schema/runs.ts';
import { issueToken } from '#db/tokens.ts';
import { freePort } from '#embedded/ports.ts';
import { createMirrors } from '#git/mirror.ts';
import { createLakeEngine } from '#lake/engine/engine.ts';
import { createDiskStore } from '#storage/disk.ts';
import { type Comparison, printComparisons, printMachine, quantile, withTemporaryDir } from './report.ts';
import { withPostgres } from './postgres.ts';

const clients = 64;
const seconds = Number(process.env['BENCH_SECONDS'] ?? 8);
const recordedMlflowPerSecond = 160;
const agent = new Agent({ keepAlive: true, maxSockets: 512 });

interface Target {
  url: string;
  headers: Record<string, string>;
  body: string;
  expected: number;
}

function send({ url, headers, body, expected }: Target): Promise<void> {
  return new Promise((resolve, reject) => {
    const options = { method: 'POST', agent, headers: { ...headers, 'content-length': Buffer.byteLength(body) } };
    const outgoing = httpRequest(url, options, (response) => {
      response.resume();
      response.once('end', () => {
        if (response.statusCode === expected) resolve();
        else reject(new Error(`${url} answered ${response.statusCode}`));
      });
    });
    outgoing.once('error', reject);
    outgoing.end(body);
  });
}

/** Closed loop: every client sends its next request when the one before was answered. */
async function perSecond(task: () => Promise<unknown>, parallel: number): Promise<number> {
  let done = 0;
  const start = performance.now();
  const end = start + seconds * 1000;
  await Promise.all(
    Array.from({ length: parallel }, async () => {
      while (performance.now() < end) {
        await task();
        done += 1;
      }
    }),
  );
  return done / ((performance.now() - start) / 1000);
}

/** Open loop: requests are due at fixed times, whether or not those before were answered; waiting counts as latency. */
async function latencies(task: () => Promise<unknown>, rate: number): Promise<number[]> {
  const seen: number[] = [];
  const pending: Array<Promise<void>> = [];
  const start = performance.now();
  const total = Math.floor(rate * seconds);
  for (let sent = 0; sent < total; ) {
    for (const due = ((performance.now() - start) / 1000) * rate; sent < due && sent < total; sent += 1) {
      const dueAt = start + (sent / rate) * 1000;
      pending.push(task().then(() => void seen.push(performance.now() - dueAt)));
    }
    await pause(1);
  }
  await Promise.all(pending);
  return seen;
}

/** What the child process does: the server, so that it has a core of its own when there are two. */
async function serve(dir: string, databaseUrl: string): Promise<void> {
  const limits = { sizeBytesMax: 1024 ** 2, filesMax: 1000, timeoutMs: 10_000 };
  const running = await startApi(
    {
      api: { host: '127.0.0.1', port: 0, publicUrl: 'http://127.0.0.1' },
      home: dir,
      runner: { kind: 'process' },
    },
    {
      connection: connect(databaseUrl),
      store: await createDiskStore({ root: join(dir, 'blobs') }),
      mirrors: createMirrors({ rootDir: join(dir, 'mirrors'), limits, allowPrivateRemotes: false }),
      lakeEngine: createLakeEngine({ cacheDir: join(dir, 'lake') }),
      secretsKey: createSecretKey(Buffer.alloc(32)),
      temporal: { address: '127.0.0.1:1', namespace: 'assay', uiUrl: null },
    },
  );
  process.stdout.write(`${running.url}\n`);
}

async function startServer(dir: string, databaseUrl: string): Promise<{ url: string; child: ChildProcess }> {
  const args = [fileURLToPath(import.meta.url), 'serve', dir, databaseUrl];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const [url] = (await new Promise<Buffer>((resolve) => child.stdout.once('data', resolve))).toString().split('\n');
  return { url: url ?? '', child };
}

/** One transaction per run, as a server without batching would do it. */
async function insertAlone({ db }: Connection, projectId: string): Promise<void> {
  await db.transaction(async (tx) => {
    const id = newId();
    const number = Number.parseInt(id.slice(-7), 16);
    const values = {
      id,
      projectId,
      number,
      owner: 'bench',
      ref: 'main',
      asOf: new Date().toISOString(),
      overrides: {},
    };
    await tx.insert(runs).values(values);
    await tx.insert(executions).values({ runId: id, n: 1 });
  });
}

async function measureOurs(dir: string, databaseUrl: string): Promise<Comparison[]> {
  const connection = connect(databaseUrl, { connectionsMax: clients });
  const token = await issueToken(
    connection.db,
    { name: 'bench', owner: 'bench', role: 'ml', projectId: null, expiresInDays: null, issuedBy: 'bench' },
    null,
  );
  const [one, probe] = [newId(), newId()];
  await connection.db.insert(projects).values([one, probe].map((id, n) => ({ id, name: `p${n}`, createdBy: 'bench' })));
  const { url, child } = await startServer(dir, databaseUrl);
  try {
    const body = JSON.stringify({ ref: 'main', params: { lr: 0.1, epochs: 3 }, tags: ['bench'] });
    let key = 0;
    const submit = () =>
      send({
        url: `${url}/api/v1/projects/p0/runs`,
        headers: {
          authorization: `Bearer ${token.token}`,
          'content-type': 'application/json',
          'idempotency-key': `k${(key += 1)}`,
        },
        body,
        expected: 201,
      });
    await latencies(submit, 200);
    const alone = await perSecond(() => insertAlone(connection, probe), clients);
    const rate = await perSecond(submit, clients);
    const half = await latencies(submit, rate / 2);
    const mlflow = await measureMlflow(dir);
    return [
      { what: 'submits, one project', ours: rate, unit: '/s', against: mlflow, aim: '≥ 10' },
      {
        what: 'submits, one project',
        ours: rate,
        unit: '/s',
        against: { name: 'a transaction per run', value: alone },
      },
      { what: 'p50 at half load', ours: quantile(half, 0.5), unit: 'ms' },
      {
        what: 'p99 at half load',
        ours: quantile(half, 0.99),
        unit: 'ms',
        against: { name: 'aim', value: 25 },
        aim: '≤ 1',
      },
    ];
  } finally {
    child.kill();
    await connection.close();
  }
}

/** A server that closes idle connections may close one just as it is used again; a new one is opened then. */
async function sendOverAnyConnection(target: Target, attemptsLeft = 5): Promise<void> {
  await send(target).catch(async (error: NodeJS.ErrnoException) => {
    if (error.code !== 'ECONNRESET' || attemptsLeft === 0) throw error;
    await sendOverAnyConnection(target, attemptsLeft - 1);
  });
}

/** MLflow's own server on SQLite with two workers, asked in the same way. */
async function measureMlflow(dir: string): Promise<{ name: string; value: number }> {
  const python = process.env['MLFLOW_PYTHON'];
  if (python === undefined) return { name: 'MLflow, recorded', value: recordedMlflowPerSecond };
  const port = await freePort();
  const args = ['-m', 'mlflow', 'server', '--port', String(port), '--workers', '2'];
  const child = spawn(python, [...args, '--backend-store-uri', `sqlite:///${dir}/mlflow.db`], {
    cwd: dir,
    stdio: 'ignore',
    detached: true,
  });
  const target = {
    url: `http://127.0.0.1:${port}/api/2.0/mlflow/runs/create`,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ experiment_id: '0', start_time: Date.now(), tags: [{ key: 'a', value: 'b' }] }),
    expected: 200,
  };
  try {
    const until = performance.now() + 120_000;
    while (
      performance.now() < until &&
      !(await send(target).then(
        () => true,
        () => false,
      ))
    )
      await pause(500);
    const version = execFileSync(python, ['-c', 'import mlflow; print(mlflow.__version__)'], {
      encoding: 'utf8',
    }).trim();
    // More clients than that wait for SQLite's lock and make it slower, so the best of a few counts.
    const rates: number[] = [];
    for (const parallel of [2, 4, 8]) rates.push(await perSecond(() => sendOverAnyConnection(target), parallel));
    return { name: `MLflow ${version}`, value: Math.max(...rates) };
  } finally {
    if (child.pid !== undefined) process.kill(-child.pid);
  }
}

const [, , mode, dirGiven = '', urlGiven = ''] = process.argv;
if (mode === 'serve') await serve(dirGiven, urlGiven);
else {
  await withTemporaryDir(async (dir) => {
    printMachine();
    printComparisons('submit', await withPostgres(dir, (url) => measureOurs(dir, url)));
    agent.destroy();
  });
}
