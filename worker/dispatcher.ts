// Takes queued executions that their quotas admit and starts their workflows. Nothing else starts run workflows, so submit works while
// Temporal is down, and a dispatcher that dies in the middle leaves rows that the next one takes again.
import { createHash } from 'node:crypto';
import { type Client, WorkflowExecutionAlreadyStartedError } from '@temporalio/client';
import { defineSearchAttributeKey, SearchAttributeType } from '@temporalio/common';
import type { Connection, Database } from '#db/connect.ts';
import { type Dispatchable, takeForDispatch } from '#db/dispatch.ts';
import { closeExecution, markDispatched } from '#db/executions.ts';
import { controlQueue, type RunInput, runWorkflow, runWorkflowId } from '#workflows/messages.ts';
import type { Logger } from './logger.ts';

/** A taken row whose dispatcher did not come back within this time is taken again. */
const staleMs = 5_000;
const pollMs = 1_000;
const batchMax = 50;

const keyword = (name: string) => defineSearchAttributeKey(name, SearchAttributeType.KEYWORD);
const keywords = (name: string) => defineSearchAttributeKey(name, SearchAttributeType.KEYWORD_LIST);

export interface Dispatcher {
  stop(): Promise<void>;
}

export interface DispatcherDeps {
  connection: Connection;
  /** Shares the connection of this process's control worker, which may get a run's first task with its start. */
  client: Client;
  log: Logger;
  /** Base address of links in the Temporal UI. */
  publicUrl: string;
}

export function startDispatcher(deps: DispatcherDeps): Dispatcher {
  const wake = createWake();
  const stopping = new AbortController();
  const listener = listen(deps, wake.ring, stopping.signal);
  const loop = (async () => {
    while (!stopping.signal.aborted) {
      const taken = await dispatchOnce(deps).catch((error: unknown) => {
        deps.log.warn({ error }, 'dispatch was interrupted and goes on at the next tick');
        return 0;
      });
      if (taken < batchMax) await wake.wait(pollMs);
    }
  })();
  return {
    async stop() {
      stopping.abort();
      wake.ring();
      await Promise.all([loop, listener]);
    },
  };
}

/** Starts what is due; answers how many rows were taken. */
async function dispatchOnce(deps: DispatcherDeps): Promise<number> {
  const rows = await takeForDispatch(deps.connection.db, { max: batchMax, staleMs });
  await Promise.all(rows.map((row) => dispatch(deps, row)));
  return rows.length;
}

async function dispatch(deps: DispatcherDeps, row: Dispatchable): Promise<void> {
  if (row.cancelRequestedBy !== null) {
    await closeCancelled(deps.connection.db, row);
    return;
  }
  try {
    const handle = await deps.client.workflow.start(runWorkflow, {
      workflowId: runWorkflowId(row.runId, row.n),
      taskQueue: controlQueue,
      args: [inputOf(row)],
      workflowIdConflictPolicy: 'USE_EXISTING',
      workflowIdReusePolicy: 'REJECT_DUPLICATE',
      workflowTaskTimeout: '10s',
      // Every activity of the run inherits it: the server serves by priority, and among equals the users take turns.
      priority: { priorityKey: row.priority, fairnessKey: fairnessKey(row.owner) },
      requestEagerStart: true,
      staticSummary: `${row.project}/${row.number}${row.name === null ? '' : ` ${row.name}`}`,
      staticDetails: `Run [${row.project}/${row.number}](${deps.publicUrl}/api/v1/runs/${row.runId}) of ${row.owner}, execution ${row.n}`,
      typedSearchAttributes: [
        { key: keyword('AssayProject'), value: row.project },
        { key: keyword('AssayOwner'), value: row.owner },
        { key: keyword('AssayExperiment'), value: row.experiment },
        { key: keyword('AssayRun'), value: `${row.project}/${row.number}` },
        { key: keyword('AssayRunId'), value: row.runId },
        { key: keyword('AssayStatus'), value: 'running' },
        ...(row.tags.length === 0 ? [] : [{ key: keywords('AssayTags'), value: row.tags }]),
      ],
    });
    await markDispatched(deps.connection.db, row.runId, row.n, handle.firstExecutionRunId);
  } catch (error) {
    if (error instanceof WorkflowExecutionAlreadyStartedError) {
      // It was started before and has closed since; the reconciler compares the records.
      await markDispatched(deps.connection.db, row.runId, row.n, 'closed');
      return;
    }
    deps.log.warn({ error, run: row.runId }, 'Temporal did not take the run; it stays queued');
  }
}

function inputOf({ runId, n, isReproduction }: Dispatchable): RunInput {
  return { runId, execution: n, ...(isReproduction ? { reproduces: true } : {}) };
}

const fairnessKeyBytesMax = 64;

function fairnessKey(owner: string): string {
  if (Buffer.byteLength(owner) <= fairnessKeyBytesMax) return owner;
  return createHash('sha256').update(owner).digest('base64url');
}

async function closeCancelled(db: Database, row: Dispatchable): Promise<void> {
  const skipReason = `cancelled by ${row.cancelRequestedBy} before it started`;
  await closeExecution(db, { runId: row.runId, n: row.n, status: 'cancelled', failure: null, skipReason });
}

interface Wake {
  ring: () => void;
  wait: (maxMs: number) => Promise<void>;
}

/** A bell that is not missed when it rings while nobody waits. */
function createWake(): Wake {
  let rung = false;
  let release: (() => void) | null = null;
  return {
    ring() {
      rung = true;
      release?.();
    },
    async wait(maxMs) {
      if (!rung) {
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, maxMs);
          release = () => {
            clearTimeout(timer);
            resolve();
          };
        });
      }
      rung = false;
      release = null;
    },
  };
}

/** Hears new executions at once; while the connection is away, the poll finds them. */
async function listen(deps: DispatcherDeps, ring: () => void, stop: AbortSignal): Promise<void> {
  while (!stop.aborted) {
    try {
      const client = await deps.connection.pool.connect();
      await new Promise<void>((resolve) => {
        client.on('notification', ring);
        client.once('error', () => resolve());
        client.once('end', () => resolve());
        stop.addEventListener('abort', () => resolve(), { once: true });
        client.query('listen dispatch').catch(() => resolve());
      });
      client.removeAllListeners('notification');
      client.release(true);
    } catch (error) {
      deps.log.warn({ error }, 'the dispatcher listens again in a moment');
    }
    if (!stop.aborted) await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
}
