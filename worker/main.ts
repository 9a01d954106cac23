// Wires a worker: configuration and dependencies in, Temporal workers out, and an orderly stop.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { KeyObject } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { Client } from '@temporalio/client';
import {
  bundleWorkflowCode,
  DefaultLogger,
  NativeConnection,
  Runtime,
  Worker,
  type WorkerOptions,
} from '@temporalio/worker';
import { type ControlDeps, createActivities, createStageActivities } from '#activities/index.ts';
import { createEnvironments } from '#activities/environments.ts';
import { createKeepSource } from '#activities/keep-source.ts';
import type { StageDeps } from '#activities/stage/watch.ts';
import type { Runner } from '#activities/runners/runner.ts';
import { createDevices } from '#activities/stage/devices.ts';
import { createSourceCache } from '#activities/stage/source-cache.ts';
import { createWatches } from '#activities/stage/watches.ts';
import type { Connection } from '#db/connect.ts';
import { createContext, type EnvironmentOptions } from '#environment/context.ts';
import type { Mirrors } from '#git/mirror.ts';
import type { Lake } from '#lake/lake.ts';
import type { BlobStore } from '#storage/blob-store.ts';
import { controlQueue, nodeQueue, poolQueue } from '#workflows/messages.ts';
import { startDispatcher } from './dispatcher.ts';
import type { Logger } from './logger.ts';
import { holdLease, leaseMs, type NodeIdentity } from './node.ts';
import { adoptLaunches, startNodeReconciler } from './node-reconciler.ts';
import { startRunReconciler } from './run-reconciler.ts';

/** What both roles need. */
export interface WorkerDeps {
  connection: Connection;
  store: BlobStore;
  temporal: { address: string; namespace: string };
  lake: Lake;
  environment: EnvironmentOptions;
  /** A directory of this machine that stages of another user can pass through. */
  nodeDir: string;
  publicUrl: string;
  log: Logger;
}

export interface ControlWorkerDeps extends WorkerDeps {
  mirrors: Mirrors;
}

export interface StageWorkerDeps extends WorkerDeps {
  runner: Runner;
  node: NodeIdentity;
  secretsKey: KeyObject;
  logBytesMax: number;
}

export interface RunningWorker {
  /** Stops taking work, lets go of what runs and resolves when everything is at rest. */
  stop(): Promise<void>;
  /** Rejects when the worker can not go on. */
  failed: Promise<never>;
}

const workflowsPath = fileURLToPath(new URL('../workflows/index.ts', import.meta.url));
/** The defaults poll with more connections than a handful of slots can use. */
const polls = { maxConcurrentWorkflowTaskPolls: 4, maxConcurrentActivityTaskPolls: 4 };
const throttle = '5s' as const;

let isRuntimeInstalled = false;

/** Temporal's own runtime is one per process; signals stay ours, because the process stops things in its own order. */
export function installRuntime(log: Logger): void {
  if (isRuntimeInstalled) return;
  isRuntimeInstalled = true;
  const logger = new DefaultLogger('WARN', ({ level, message, meta }) => {
    // A stage worker has none, by design.
    if (message.startsWith('No workflows registered')) return;
    log[level === 'ERROR' ? 'error' : 'warn']({ meta: summary(meta) }, message);
  });
  Runtime.install({
    logger,
    shutdownSignals: [],
    telemetryOptions: { logging: { filter: { core: 'ERROR', other: 'ERROR' }, forward: {} } },
  });
}

function summary(meta: Record<string, unknown> | undefined): Record<string, unknown> {
  const { workflowId, activityType, taskQueue, error } = meta ?? {};
  return { workflowId, activityType, taskQueue, error: error instanceof Error ? error.message : undefined };
}

/** Bundled once per process; the caller may hand the result to several workers. */
export async function bundleWorkflows(): Promise<NonNullable<WorkerOptions['workflowBundle']>> {
  return await bundleWorkflowCode({ workflowsPath, logger: new DefaultLogger('ERROR') });
}

export async function startControlWorker(
  deps: ControlWorkerDeps,
  workflowBundle: NonNullable<WorkerOptions['workflowBundle']>,
): Promise<RunningWorker> {
  const { log } = deps;
  installRuntime(log);
  const { address, namespace } = deps.temporal;
  const native = await NativeConnection.connect({ address });
  // On the worker's own connection, so that a started run's first task comes back with the answer to its start.
  const client = new Client({ connection: native, namespace });
  const activities = createActivities(controlDeps(deps));
  const options = {
    connection: native,
    namespace,
    taskQueue: controlQueue,
    workflowBundle,
    activities,
    maxConcurrentActivityTaskExecutions: 24,
    maxCachedWorkflows: 300,
    maxHeartbeatThrottleInterval: throttle,
    stickyQueueScheduleToStartTimeout: '2s' as const,
    shutdownGraceTime: 0,
    ...polls,
  };
  const worker = await orClose([native], () => Worker.create(options));
  const running = worker.run();
  const dispatcher = startDispatcher({ connection: deps.connection, client, log, publicUrl: deps.publicUrl });
  const reconciler = startRunReconciler({ connection: deps.connection, client, log });
  return {
    failed: running.then(() => new Promise<never>(() => undefined)),
    async stop() {
      await Promise.all([dispatcher.stop(), reconciler.stop()]);
      if (worker.getState() === 'RUNNING') worker.shutdown();
      await running;
      await native.close();
    },
  };
}

/** A start that fails in the middle leaves no connection behind: whoever starts again would gather them. */
async function orClose<R>(opened: Array<{ close(): Promise<void> }>, next: () => Promise<R>): Promise<R> {
  try {
    return await next();
  } catch (error) {
    await Promise.all(opened.map((connection) => connection.close()));
    throw error;
  }
}

function controlDeps(deps: ControlWorkerDeps): ControlDeps {
  const { db } = deps.connection;
  const { store } = deps;
  return {
    db,
    store,
    mirrors: deps.mirrors,
    keepSource: createKeepSource({ db, store, mirrors: deps.mirrors }),
    publicUrl: deps.publicUrl,
    sources: createSourceCache(store, join(deps.nodeDir, 'source'), deps.environment.builder?.gid ?? null),
    environments: createEnvironments({ db, store, context: createContext(deps.environment) }),
    lake: deps.lake,
  };
}

/** Polls its pool's queue and its own; registers the node and adopts its stages before it takes anything. */
export async function startStageWorker(deps: StageWorkerDeps): Promise<RunningWorker> {
  const { connection, log, node, runner } = deps;
  installRuntime(log);
  const drain = new AbortController();
  const stageDeps = stageDepsOf(deps, drain.signal);
  await mkdir(stageDeps.workDir, { recursive: true, mode: 0o711 });
  const reconcile = {
    db: connection.db,
    runner,
    devices: stageDeps.devices,
    nodeId: node.id,
    workDir: stageDeps.workDir,
    watched: stageDeps.watched,
    log,
  };
  const native = await NativeConnection.connect({ address: deps.temporal.address });
  const lease = await orClose([native], async () => {
    await adoptLaunches(reconcile);
    return await holdLease(connection.db, node, log);
  });
  const reconciler = startNodeReconciler(reconcile);
  const activities = createStageActivities(stageDeps);
  const shared = {
    connection: native,
    namespace: deps.temporal.namespace,
    activities,
    identity: node.id,
    maxHeartbeatThrottleInterval: throttle,
    shutdownGraceTime: 0,
  };
  const onPool = {
    ...shared,
    taskQueue: poolQueue(node.pool),
    maxConcurrentActivityTaskExecutions: node.slots,
    maxConcurrentActivityTaskPolls: Math.min(2, node.slots),
  };
  // A stage that is attached to holds its slot already, so its own queue is not bounded by slots.
  const onNode = {
    ...shared,
    taskQueue: nodeQueue(node.id),
    maxConcurrentActivityTaskExecutions: 100,
    maxConcurrentActivityTaskPolls: 2,
  };
  const workers = await orClose([{ close: () => reconciler.stop() }, { close: () => lease.stop() }, native], () =>
    Promise.all([Worker.create(onPool), Worker.create(onNode)]),
  );
  const running = Promise.all(workers.map((worker) => worker.run()));
  return {
    failed: running.then(() => new Promise<never>(() => undefined)),
    async stop() {
      drain.abort();
      for (const worker of workers) if (worker.getState() === 'RUNNING') worker.shutdown();
      await running;
      await reconciler.stop();
      await lease.stop();
      await native.close();
    },
  };
}

function stageDepsOf(deps: StageWorkerDeps, draining: AbortSignal): StageDeps {
  const { db } = deps.connection;
  const { store, node } = deps;
  return {
    db,
    store,
    runner: deps.runner,
    node: { id: node.id, pool: node.pool, leaseMs, hardware: node.hardware },
    devices: createDevices(node.shape.devices),
    environments: createEnvironments({ db, store, context: createContext(deps.environment) }),
    sources: createSourceCache(store, join(deps.nodeDir, 'source'), deps.environment.builder?.gid ?? null),
    lake: deps.lake,
    secretsKey: deps.secretsKey,
    workDir: join(deps.nodeDir, 'work'),
    logBytesMax: deps.logBytesMax,
    publicUrl: deps.publicUrl,
    draining,
    watched: createWatches(),
  };
}
