// The stage worker: launches and watches the stages of one pool on this node.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { KeyObject } from 'node:crypto';
import { NativeConnection, Worker } from '@temporalio/worker';
import { createEnvironmentActivities, createStageActivities } from '#activities/index.ts';
import { createEnvironments } from '#activities/environments.ts';
import type { Runner } from '#activities/runners/runner.ts';
import { createLeaving, type Leaving } from '#activities/stage/leaving.ts';
import { createSlots } from '#activities/stage/slots.ts';
import { createSourceCache } from '#activities/stage/source-cache.ts';
import type { StageDeps } from '#activities/stage/watch.ts';
import { createWatches } from '#activities/stage/watches.ts';
import { createContext, type EnvironmentOptions } from '#environment/context.ts';
import { environmentQueue, nodeQueue, poolQueue } from '#workflows/messages.ts';
import { type Duty, putAsideIfFailing } from '#db/nodes.ts';
import { startDiskGuard } from './node/disk-guard.ts';
import { holdLease, type Lease, leaseMs } from './node/lease.ts';
import type { NodeIdentity } from './node/node.ts';
import { createPolling, createPoolPolling, type PoolPolling } from './node/pool-polling.ts';
import { adoptLaunches, startNodeReconciler } from './node/node-reconciler.ts';
import type { Logger } from './logger.ts';
import { installRuntime, orClose, type RunningWorker, throttle, type WorkerDeps } from './temporal/runtime.ts';

export interface StageWorkerDeps extends WorkerDeps {
  environment: EnvironmentOptions;
  runner: Runner;
  node: NodeIdentity;
  secretsKey: KeyObject;
  logBytesMax: number;
  /** Null takes the larger of 1 GiB and 2 % of the disk. */
  diskReserveBytes: number | null;
}

/** Most of the time they wait for each other or for the network. */
const environmentsAtOnce = 8;

/** An orderly stop of the worker waits for its stages so long, then kills them. */
const stopKillMs = 10_000;

/** Polls its pool's queue and its own; registers the node and adopts its stages before it takes anything. */
export async function startStageWorker(deps: StageWorkerDeps): Promise<RunningWorker> {
  const { connection, log, node, runner } = deps;
  installRuntime(log);
  const leaving = createLeaving();
  let lease: Lease | null = null;
  const stageDeps = stageDepsOf(deps, leaving, async () => {
    if (await putAsideIfFailing(connection.db, node.id)) await lease?.ask();
  });
  await mkdir(stageDeps.workDir, { recursive: true, mode: 0o711 });
  const reconcile = { ...stageDeps, nodeId: node.id, runner, log };
  const native = await NativeConnection.connect({ address: deps.temporal.address });
  const held = await orClose([native], async () => {
    const found = await holdLease(connection.db, node, log);
    await orClose([{ close: () => found.stop() }], () => adoptLaunches(reconcile));
    return found;
  });
  lease = held;
  const reconciler = startNodeReconciler(reconcile);
  const { workDir } = stageDeps;
  const diskGuard = startDiskGuard({ runner, workDir, reserveBytes: deps.diskReserveBytes, log });
  const shared = {
    connection: native,
    namespace: deps.temporal.namespace,
    activities: createStageActivities(stageDeps),
    identity: node.id,
    maxHeartbeatThrottleInterval: throttle,
    shutdownGraceTime: 0,
  };
  const stages = createPoolPolling(
    stageDeps.slots,
    (tuner) =>
      Worker.create({
        ...shared,
        taskQueue: poolQueue(node.pool),
        tuner,
        maxConcurrentActivityTaskPolls: Math.min(2, node.slots),
      }),
    log,
  );
  // A stage that is attached to holds its slot already, so its own queue is not bounded by slots.
  const onNode = {
    ...shared,
    taskQueue: nodeQueue(node.id),
    maxConcurrentActivityTaskExecutions: 100,
    maxConcurrentActivityTaskPolls: 2,
  };
  const createForEnvironments = async () => ({
    worker: await Worker.create({
      ...shared,
      activities: createEnvironmentActivities(stageDeps),
      taskQueue: environmentQueue(node.pool),
      maxConcurrentActivityTaskExecutions: environmentsAtOnce,
      maxConcurrentActivityTaskPolls: 2,
    }),
  });
  const environments = createPolling('environments', createForEnvironments, log);
  // A node that takes no stages makes no environments for them: what fails there must not attract more.
  const polling: PoolPolling = {
    set: async (wanted) => {
      await Promise.all([stages.set(wanted), environments.set(wanted)]);
    },
    failed: Promise.race([stages.failed, environments.failed]),
  };
  polling.failed.catch(() => undefined);
  const opened = [
    { close: () => reconciler.stop() },
    { close: () => diskGuard.stop() },
    { close: () => held.stop() },
    native,
  ];
  const worker = await orClose(opened, async () => {
    const created = await Worker.create(onNode);
    if (held.duty.state === 'active') await polling.set(true);
    return created;
  });
  const running = worker.run();
  const obey = createObedience({ polling, leaving, log });
  held.follow(obey);
  log.info({ node: node.id, pool: node.pool, slots: node.slots, shape: node.shape }, 'the node offers its slots');
  return {
    failed: Promise.race([running.then(() => new Promise<never>(() => undefined)), polling.failed]),
    async stop() {
      held.follow(() => undefined);
      leaving.leave(stopKillMs);
      const closed = polling.set(false);
      if (worker.getState() === 'RUNNING') worker.shutdown();
      await Promise.all([running, closed]);
      await diskGuard.stop();
      await reconciler.stop();
      await held.stop();
      await runner.close();
      await native.close();
    },
  };
}

/** Does what the node was told; a change that fails is tried again at the next renewal. */
function createObedience({ polling, leaving, log }: { polling: PoolPolling; leaving: Leaving; log: Logger }) {
  let before: Duty['state'] = 'active';
  return (duty: Duty) => {
    if (duty.state !== before) log.warn({ state: duty.state, reason: duty.reason }, `the node is ${duty.state}`);
    before = duty.state;
    if (duty.stopsStages && !leaving.signal().aborted) leaving.leave(null);
    if (duty.state === 'active') leaving.stay();
    polling.set(duty.state === 'active').catch((error: unknown) => {
      log.warn({ error }, 'the node could not begin or end to ask for stages; it tries again');
    });
  };
}

function stageDepsOf(deps: StageWorkerDeps, leaving: Leaving, afterTrouble: () => Promise<void>): StageDeps {
  const { db } = deps.connection;
  const { store, node } = deps;
  return {
    db,
    store,
    runner: deps.runner,
    node: { id: node.id, pool: node.pool, leaseMs, hardware: node.hardware },
    slots: createSlots({ slots: node.slots, devices: node.devices }),
    environments: createEnvironments({ db, store, context: createContext(deps.environment) }),
    sources: createSourceCache(store, join(deps.nodeDir, 'source'), deps.builder?.gid ?? null),
    lake: deps.lake,
    secretsKey: deps.secretsKey,
    workDir: join(deps.nodeDir, 'work'),
    logBytesMax: deps.logBytesMax,
    publicUrl: deps.publicUrl,
    leaving,
    afterTrouble,
    watched: createWatches(),
  };
}
