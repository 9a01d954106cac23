// What both kinds of worker share: Temporal's runtime, the bundle of the workflows, and what a running worker is.
import { fileURLToPath } from 'node:url';
import { bundleWorkflowCode, DefaultLogger, Runtime, type WorkerOptions } from '@temporalio/worker';
import type { RunnerOffer } from '#core/network.ts';
import type { Connection } from '#db/connect.ts';
import type { EnvironmentOptions } from '#environment/context.ts';
import type { Lake } from '#lake/lake.ts';
import type { BlobStore } from '#storage/blob-store.ts';
import type { Logger } from '#worker/logger.ts';

/** What both roles need. */
export interface WorkerDeps {
  connection: Connection;
  store: BlobStore;
  temporal: { address: string; namespace: string };
  lake: Lake;
  /** Who installs and builds packages; sources are readable to it. Null where this process is not root. */
  builder: EnvironmentOptions['builder'];
  /** A directory of this machine that stages of another user can pass through. */
  nodeDir: string;
  publicUrl: string;
  /** How the nodes of this server run stages. */
  offer: RunnerOffer;
  log: Logger;
}

export interface RunningWorker {
  /** Stops taking work, lets go of what runs and resolves when everything is at rest. */
  stop(): Promise<void>;
  /** Rejects when the worker can not go on. */
  failed: Promise<never>;
}

const workflowsPath = fileURLToPath(new URL('../../workflows/index.ts', import.meta.url));

/** Heartbeats are sent at least this often, which bounds how late a cancellation is heard. */
export const throttle = '5s' as const;

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

/** A start that fails in the middle leaves no connection behind: whoever starts again would gather them. */
export async function orClose<R>(opened: Array<{ close(): Promise<void> }>, next: () => Promise<R>): Promise<R> {
  try {
    return await next();
  } catch (error) {
    await Promise.all(opened.map((connection) => connection.close()));
    throw error;
  }
}
