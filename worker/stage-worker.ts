// The stage worker: launches and watches the stages of one pool on this node.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { KeyObject } from 'node:crypto';
import { NativeConnection, Worker } from '@temporalio/worker';
import { createStageActivities } from '#activities/index.ts';
import { createEnvironments } from '#activities/environments.ts';
import type { Runner } from '#activities/runners/runner.ts';
import { createDevices } from '#activities/stage/devices.ts';
import { createSourceCache } from '#activities/stage/source-cache.ts';
import type { StageDeps } from '#activities/stage/watch.ts';
import { createWatches } from '#activities/stage/watches.ts';
import { createContext } from '#environment/context.ts';
import { nodeQueue, poolQueue } from '#workflows/messages.ts';
import { startDiskGuard } from './node/disk-guard.ts';
import { holdLease, leaseMs, type NodeIdentity } from './node/node.ts';
import { adoptLaunches, startNodeReconciler } from './node/node-reconciler.ts';
import { installRuntime, orClose, type RunningWorker, throttle, type WorkerDeps } from './temporal/runtime.ts';

export interface StageWorkerDeps extends WorkerDeps {
  runner: Runner;
  node: NodeIdentity;
  secretsKey: KeyObject;
  logBytesMax: number;
  /** Null takes the larger of 1 GiB and 2 % of the disk. */
  diskReserveBytes: number | null;
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
  const { workDir } = stageDeps;
  const diskGuard = startDiskGuard({ runner, workDir, reserveBytes: deps.diskReserveBytes, log });
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
  const workers = await orClose(
    [{ close: () => reconciler.stop() }, { close: () => diskGuard.stop() }, { close: () => lease.stop() }, native],
    () => Promise.all([Worker.create(onPool), Worker.create(onNode)]),
  );
  const running = Promise.all(workers.map((worker) => worker.run()));
  return {
    failed: running.then(() => new Promise<never>(() => undefined)),
    async stop() {
      drain.abort();
      for (const worker of workers) if (worker.getState() === 'RUNNING') worker.shutdown();
      await running;
      await diskGuard.stop();
      await reconciler.stop();
      await lease.stop();
      await runner.close();
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
