// The difference of two runs with 10,000 metrics and 1,000 files each, over HTTP and with the code compared by git.
// The limit: reading the same rows of both runs from Postgres with bare SQL, and comparing nothing.
import { execFileSync } from 'node:child_process';
import { createHash, createSecretKey } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startApi } from '#api/start.ts';
import { connect, type Connection } from '#db/connect.ts';
import { newId } from '#db/ids.ts';
import { projects } from '#db/schema/projects.ts';
import { executions, runs } from '#db/schema/runs.ts';
import { attempts, steps } from '#db/schema/steps.ts';
import { issueToken } from '#db/tokens.ts';
import { createMirrors, type Mirrors } from '#git/mirror.ts';
import { createLakeEngine } from '#lake/engine/engine.ts';
import { createClient } from '#sdk/client.ts';
import { createDiskStore } from '#storage/disk.ts';
import {
  type Comparison,
  interleave,
  printComparisons,
  printMachine,
  quantile,
  timeMs,
  withTemporaryDir,
} from './report.ts';
import { withPostgres } from './postgres.ts';

const metricCount = 10_000;
const artifactCount = 1_000;
const rounds = Number(process.env['BENCH_DIFF_ROUNDS'] ?? 15);
const aimMs = 200;

interface Commits {
  first: string;
  second: string;
}

/** Two commits of 200 files, of which ten differ. */
async function fillMirror(dir: string, mirrors: Mirrors, projectId: string): Promise<Commits> {
  const repository = join(dir, 'repository');
  await mkdir(repository);
  const git = (...args: string[]) =>
    execFileSync('git', ['-c', 'user.name=b', '-c', 'user.email=b@example.org', ...args], { cwd: repository })
      .toString()
      .trim();
  git('init', '--quiet');
  const commit = async (words: (file: number) => string) => {
    for (let n = 0; n < 200; n += 1) await writeFile(join(repository, `file-${n}.py`), `${words(n)}\n`.repeat(100));
    git('add', '--all');
    git('commit', '--quiet', '-m', 'bench');
    return git('rev-parse', 'HEAD');
  };
  const first = await commit((n) => `x = ${n}`);
  const second = await commit((n) => (n < 10 ? `x = ${n + 1}` : `x = ${n}`));
  git('bundle', 'create', '--quiet', 'all.bundle', '--all');
  await mirrors.ensure(projectId);
  await mirrors.ingestBundle(projectId, join(repository, 'all.bundle'), second);
  return { first, second };
}

/** Values are equal for equal `shift`; every row differs where it is another. */
async function insertRun(
  { db, pool }: Connection,
  projectId: string,
  number: number,
  commit: string,
  shift: number,
): Promise<string> {
  const id = newId();
  await db.insert(runs).values({
    id,
    projectId,
    number,
    owner: 'bench',
    ref: 'main',
    commit,
    asOf: '2026-01-01T00:00:00Z',
    overrides: {},
    status: 'succeeded',
    params: { lr: shift },
  });
  await db.insert(executions).values({ runId: id, n: 1, status: 'succeeded', dispatch: 'closed' });
  await db
    .insert(steps)
    .values({ runId: id, execution: 1, name: 'train', kind: 'stage', position: 3, status: 'succeeded', fence: 1 });
  await db.insert(attempts).values({
    runId: id,
    step: 'train',
    fence: 1,
    execution: 1,
    nodeId: 'n',
    pool: 'cpu',
    status: 'succeeded',
    launch: id,
    leaseExpiresAt: new Date(),
  });
  await pool.query(
    `insert into metrics (run_id, step, fence, key, last, min, max, count, last_step, source)
     select $1, 'train', 1, 'layer.' || i || '.norm', (i + $2::float8)::text, i::text, (i + $2::float8)::text, 100, 99, 'metrics.json'
     from generate_series(1, $3) i`,
    [id, shift, metricCount],
  );
  await pool.query(
    `insert into artifacts (run_id, step, fence, path, sha256, size_bytes, media_type)
     select $1, 'train', 1, 'out/file-' || i || '.bin', b.sha256, b.size_bytes, 'application/octet-stream'
     from generate_series(1, $3) i, blobs b where b.sha256 = $2`,
    [id, await blobOf({ db, pool } as Connection, shift), artifactCount],
  );
  return id;
}

async function blobOf({ pool }: Pick<Connection, 'pool'>, shift: number): Promise<string> {
  const sha256 = createHash('sha256').update(String(shift)).digest('hex');
  await pool.query(`insert into blobs (sha256, size_bytes) values ($1, 1000) on conflict do nothing`, [sha256]);
  return sha256;
}

/** Every row of both runs, as a client that compares by itself would read them. */
async function bareReads({ pool }: Connection, ids: string[]): Promise<void> {
  await Promise.all([
    pool.query('select run_id, step, key, last, min, max, count, last_step from metrics where run_id = any($1)', [ids]),
    pool.query('select run_id, step, path, sha256, size_bytes from artifacts where run_id = any($1)', [ids]),
  ]);
}

await withTemporaryDir(async (dir) => {
  printMachine();
  await withPostgres(dir, (url) => measure(dir, url));
});

async function measure(dir: string, databaseUrl: string): Promise<void> {
  const connection = connect(databaseUrl);
  const limits = { sizeBytesMax: 1024 ** 3, filesMax: 10_000, timeoutMs: 30_000 };
  const mirrors = createMirrors({ rootDir: join(dir, 'mirrors'), limits, allowPrivateRemotes: false });
  const lakeEngine = createLakeEngine({ cacheDir: join(dir, 'lake') });
  const api = await startApi(
    { api: { host: '127.0.0.1', port: 0, publicUrl: 'http://127.0.0.1' }, home: dir, runner: { kind: 'process' } },
    {
      connection,
      store: await createDiskStore({ root: join(dir, 'blobs') }),
      mirrors,
      lakeEngine,
      secretsKey: createSecretKey(Buffer.alloc(32)),
      temporal: { address: '127.0.0.1:1', namespace: 'assay', uiUrl: null },
    },
  );
  try {
    const projectId = newId();
    await connection.db.insert(projects).values({ id: projectId, name: 'bench', createdBy: 'bench' });
    const wanted = {
      name: 'bench',
      owner: 'bench',
      role: 'ml' as const,
      projectId: null,
      expiresInDays: null,
      issuedBy: 'bench',
    };
    const { token } = await issueToken(connection.db, wanted, null);
    const client = createClient({ url: api.url, token });
    const { first, second } = await fillMirror(dir, mirrors, projectId);
    const a = await insertRun(connection, projectId, 1, first, 0);
    const b = await insertRun(connection, projectId, 2, second, 0.5);
    const same = await insertRun(connection, projectId, 3, first, 0);
    await connection.pool.query('analyze');
    const whole: number[] = [];
    const diff = (after: string, before: string, all: 'true' | 'false') =>
      timeMs(() => client.runs.diff(after, { with: before, all }));
    const seen = await interleave(rounds, {
      bare: () => timeMs(() => bareReads(connection, [a, b])),
      everything: async () => {
        const ms = await diff(b, a, 'false');
        whole.push(ms);
        return ms;
      },
      all: () => diff(b, a, 'true'),
      nothing: () => diff(same, a, 'false'),
    });
    const bare = { name: 'bare reads of all rows', value: seen.bare };
    const rows: Comparison[] = [
      { what: 'everything differs, p50', ours: seen.everything, unit: 'ms', against: bare },
      {
        what: 'everything differs, p95',
        ours: quantile(whole, 0.95),
        unit: 'ms',
        against: { name: 'aim', value: aimMs },
        aim: '≤ 1',
      },
      { what: 'everything differs, all rows asked for, p50', ours: seen.all, unit: 'ms', against: bare },
      { what: 'nothing differs, p50', ours: seen.nothing, unit: 'ms', against: bare },
    ];
    printComparisons(`diff of two runs with ${metricCount} metrics and ${artifactCount} files each`, rows);
  } finally {
    await api.close();
  }
}
