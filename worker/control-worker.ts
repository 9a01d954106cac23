// The control worker: workflows, steps without a slot, the dispatcher, the run reconciler and what pushes start.
import type { KeyObject } from 'node:crypto';
import { join } from 'node:path';
import { Client } from '@temporalio/client';
import { NativeConnection, Worker, type WorkerOptions } from '@temporalio/worker';
import { type ControlDeps, createActivities } from '#activities/index.ts';
import { createKeepSource } from '#activities/keep-source.ts';
import { createSourceCache } from '#activities/stage/source-cache.ts';
import type { HostAccess } from '#git/host/request.ts';
import type { Mirrors } from '#git/mirror.ts';
import type { Signer } from '#proof/envelope.ts';
import { controlQueue } from '#workflows/messages.ts';
import { startDispatcher } from './dispatcher.ts';
import { startPushes } from './pushes/pushes.ts';
import { startRunReconciler } from './run-reconciler.ts';
import { startScheduleReconciler } from './schedule-reconciler.ts';
import { installRuntime, orClose, type RunningWorker, throttle, type WorkerDeps } from './temporal/runtime.ts';

export interface ControlWorkerDeps extends WorkerDeps {
  mirrors: Mirrors;
  /** How the APIs of git hosts are reached. */
  hosts: HostAccess;
  /** Opens the logins of the projects' remotes. */
  secretsKey: KeyObject;
  /** Signs the statements about runs. */
  signer: Signer;
}

/** The defaults poll with more connections than a handful of slots can use. */
const polls = { maxConcurrentWorkflowTaskPolls: 4, maxConcurrentActivityTaskPolls: 4 };

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
  const schedules = startScheduleReconciler({ connection: deps.connection, client, log });
  const pushes = startPushes(deps);
  return {
    failed: running.then(() => new Promise<never>(() => undefined)),
    async stop() {
      await Promise.all([dispatcher.stop(), reconciler.stop(), schedules.stop(), pushes.stop()]);
      if (worker.getState() === 'RUNNING') worker.shutdown();
      await running;
      await native.close();
    },
  };
}

function controlDeps(deps: ControlWorkerDeps): ControlDeps {
  const { db, pool } = deps.connection;
  const { store } = deps;
  return {
    db,
    pool,
    store,
    mirrors: deps.mirrors,
    keepSource: createKeepSource({ db, store, mirrors: deps.mirrors }),
    publicUrl: deps.publicUrl,
    offer: deps.offer,
    signer: deps.signer,
    sources: createSourceCache(store, join(deps.nodeDir, 'source'), deps.builder?.gid ?? null),
    lake: deps.lake,
  };
}
