// Real workers over a real Postgres and Temporal server, in a namespace of their own.
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { createSecretKey, randomBytes } from 'node:crypto';
import { Client, Connection } from '@temporalio/client';
import { eq, sql } from 'drizzle-orm';
import { findPython } from '#activities/runners/find-python.ts';
import { createProcessRunner } from '#activities/runners/process.ts';
import type { Runner } from '#activities/runners/runner.ts';
import { ensureBuilder, ensureStageUser } from '#activities/runners/stage-user.ts';
import type { RunnerOffer } from '#core/network.ts';
import { isFinished } from '#core/run.ts';
import { connect, type Database } from '#db/connect.ts';
import { newId } from '#db/ids.ts';
import { executions, runs } from '#db/schema/runs.ts';
import { projects } from '#db/schema/projects.ts';
import { listSteps } from '#db/steps.ts';
import { ensureNamespace } from '#worker/temporal/namespace.ts';
import type { EnvironmentOptions } from '#environment/context.ts';
import { createLakeEngine } from '#lake/engine/engine.ts';
import { createMirrors } from '#git/mirror.ts';
import { createDiskStore } from '#storage/disk.ts';
import { markDamage } from '#storage/mark-damage.ts';
import { createLogger } from '#worker/logger.ts';
import { startControlWorker } from '#worker/control-worker.ts';
import { identifyNode } from '#worker/node/node.ts';
import { openSigningKey } from '#worker/signing-key.ts';
import { startStageWorker } from '#worker/stage-worker.ts';
import { bundleWorkflows, type RunningWorker } from '#worker/temporal/runtime.ts';
import { createTestDatabase } from './postgres.ts';
import { testTemporal } from './temporal.ts';

const run = promisify(execFile);
const untilMs = 60_000;

export type TestWorkers = Awaited<ReturnType<typeof startTestWorkers>>;

export interface TestWorkersOptions {
  slots?: number;
  /** False starts none in this process: the test has stage workers of its own. */
  stage?: boolean;
  /** Ids of accelerators, one for each slot. */
  devices?: string[];
  /** Free space below which the largest stage is stopped. Default: 1, which is never. */
  diskReserveBytes?: number;
  /** What the workers get in place of the database, for example one that fails at times. */
  database?: (db: Database) => Database;
  /** Changes to how environments are made. */
  environment?: Partial<EnvironmentOptions>;
  /** How the server says it runs stages. */
  offer?: RunnerOffer;
  /** The same for what runs the stages. */
  runner?: (runner: Runner) => Runner;
}

export async function startTestWorkers(options: TestWorkersOptions = {}) {
  const database = await createTestDatabase();
  const connection = connect(database.appUrl);
  const { db } = connection;
  const given = { ...connection, db: options.database?.(db) ?? db };
  const home = await mkdtemp(join(tmpdir(), 'assay-workers-'));
  await chmod(home, 0o711);
  const temporal = { address: (await testTemporal()).address, namespace: `test-${randomUUID()}` };
  const temporalConnection = await Connection.connect({ address: temporal.address });
  await ensureNamespace(temporalConnection, temporal.namespace);
  const client = new Client({ connection: temporalConnection, namespace: temporal.namespace });
  const mirrors = createMirrors({
    rootDir: join(home, 'git'),
    limits: { sizeBytesMax: 2 ** 30, filesMax: 100_000, timeoutMs: 60_000 },
    allowPrivateRemotes: false,
  });
  const hosts = { allowPrivateRemotes: false, certificateFile: null };
  const log = createLogger(process.env.ASSAY_TEST_LOG ?? 'silent');
  const disk = await createDiskStore({ root: join(home, 'blobs'), durability: 'rename-only' });
  const store = markDamage(disk, db);
  const engine = createLakeEngine({ cacheDir: join(home, 'lake') });
  const lake = { db, store, engine };
  const builder = await ensureBuilder();
  const environment = {
    cacheDir: join(tmpdir(), 'assay-test-environments'),
    variables: process.env,
    builder,
    ...options.environment,
  };
  const shared = {
    connection: given,
    store,
    lake,
    temporal,
    builder,
    nodeDir: join(home, 'node'),
    publicUrl: 'http://127.0.0.1:7410',
    offer: options.offer ?? { kind: 'process' as const },
    log,
  };
  const stageUser = await ensureStageUser();
  const python = await findPython(stageUser);
  const processes = createProcessRunner({ stateDir: join(home, 'launches'), python, stageUser });
  const runner = options.runner?.(processes) ?? processes;
  const keyBytes = randomBytes(32);
  const secretsKey = createSecretKey(keyBytes);
  const node = await identifyNode(home, {
    name: 'cpu',
    slots: options.slots ?? 2,
    cpus: 2,
    memoryGib: 4,
    devices: null,
    deviceIds: options.devices ?? null,
    accelerator: null,
  });
  const bundle = await bundleWorkflows();
  const signer = await openSigningKey(db, join(home, 'signing.key'));
  const startControl = () => startControlWorker({ ...shared, mirrors, hosts, secretsKey, signer }, bundle);
  const startStage = () =>
    startStageWorker({
      ...shared,
      environment,
      runner,
      node,
      secretsKey,
      logBytesMax: 64 * 2 ** 20,
      diskReserveBytes: options.diskReserveBytes ?? 1,
    });
  const running: RunningWorker[] = [...(options.stage === false ? [] : [await startStage()]), await startControl()];

  async function createProject(name: string, files: Record<string, string>) {
    const projectId = newId();
    await db.insert(projects).values({ id: projectId, name, createdBy: 'ada' });
    const commit = await commitFiles(projectId, files);
    return { projectId, commit };
  }

  async function commitFiles(projectId: string, files: Record<string, string>): Promise<string> {
    const checkout = await mkdtemp(join(tmpdir(), 'assay-checkout-'));
    const git = async (...args: string[]) => (await run('git', ['-C', checkout, ...args])).stdout.trim();
    await git('init', '-q', '-b', 'main');
    for (const [path, text] of Object.entries(files)) {
      await mkdir(dirname(join(checkout, path)), { recursive: true });
      await writeFile(join(checkout, path), text);
    }
    await git('add', '-A');
    await git('-c', 'user.name=Ada', '-c', 'user.email=ada@example.org', 'commit', '-q', '-m', 'try');
    const commit = await git('rev-parse', 'HEAD');
    const bundle = join(checkout, 'all.bundle');
    await git('bundle', 'create', '-q', bundle, 'main');
    await mirrors.ensure(projectId);
    await mirrors.ingestBundle(projectId, bundle, commit);
    await rm(checkout, { recursive: true, force: true });
    return commit;
  }

  /** Every step runs unless `reuse` is given, so that runs of one commit do not answer each other. */
  async function submit(projectId: string, commit: string, more: Partial<typeof runs.$inferInsert> = {}) {
    const id = newId();
    await db.transaction(async (tx) => {
      const asOf = new Date().toISOString();
      const [project] = await tx
        .update(projects)
        .set({ nextRunNumber: sql`${projects.nextRunNumber} + 1` })
        .where(eq(projects.id, projectId))
        .returning({ next: projects.nextRunNumber });
      const number = (project?.next ?? 2) - 1;
      await tx
        .insert(runs)
        .values({ id, projectId, number, owner: 'ada', ref: commit, asOf, overrides: {}, reuse: false, ...more });
      await tx.insert(executions).values({ runId: id, n: 1 });
      await tx
        .update(projects)
        .set({ nextRunNumber: number + 1 })
        .where(eq(projects.id, projectId));
    });
    return id;
  }

  async function load(runId: string) {
    const [row] = await db.select().from(runs).where(eq(runs.id, runId));
    if (row === undefined) throw new Error(`no run ${runId}`);
    return row;
  }

  return {
    db,
    client,
    temporal,
    connection,
    mirrors,
    signer,
    running,
    runner,
    store,
    lake,
    home,
    secretsKey,
    /** What a stage worker of another process needs to take part. */
    variables: {
      ASSAY_DATABASE_URL: database.appUrl,
      ASSAY_TEMPORAL_ADDRESS: temporal.address,
      ASSAY_TEMPORAL_NAMESPACE: temporal.namespace,
      ASSAY_STORAGE_PATH: join(home, 'blobs'),
      ASSAY_SECRET_KEY: keyBytes.toString('base64'),
    },
    startControl,
    startStage,
    createProject,
    commitFiles,
    submit,
    load,
    steps: (runId: string, execution = 1) => listSteps(db, runId, execution),
    /** Waits until the condition holds for the run. */
    async until(runId: string, holds: (row: typeof runs.$inferSelect) => boolean | Promise<boolean>, ms = untilMs) {
      const end = Date.now() + ms;
      for (;;) {
        const row = await load(runId);
        if (await holds(row)) return row;
        if (Date.now() > end) throw new Error(`waited ${ms} ms: ${row.status} ${row.waitingReason ?? ''}`);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    },
    async finished(runId: string, ms = untilMs) {
      return await this.until(runId, (row) => isFinished(row.status), ms);
    },
    async stop() {
      for (const worker of running.toReversed()) await worker.stop();
      await engine.close();
      await temporalConnection.close();
      await connection.close();
      await database.drop();
      await rm(home, { recursive: true, force: true });
    },
  };
}
