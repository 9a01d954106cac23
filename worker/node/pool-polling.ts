// Asks for the stages of the pool while the node takes any. Asking ends by ending the Temporal worker: what it watched
// goes on under the node's own queue.
import type { Worker, WorkerOptions } from '@temporalio/worker';
import type { Slots } from '#activities/stage/slots.ts';
import type { Logger } from '#worker/logger.ts';

export interface PoolPolling {
  /** Resolves when it is as wanted. */
  set(wanted: boolean): Promise<void>;
  /** Rejects when the worker can not go on. */
  failed: Promise<never>;
}

/** A slot is asked for before a task is, so a task never waits on a node for a slot. */
function poolTuner(slots: Slots): { tuner: NonNullable<WorkerOptions['tuner']>; close: () => void } {
  const permits = slots.permits();
  const one = { type: 'fixed-size' as const, numSlots: 1 };
  return {
    tuner: {
      activityTaskSlotSupplier: {
        type: 'custom',
        reserveSlot: (_context, abort) => permits.reserve(abort),
        // No task comes without being polled for: the workflows run elsewhere.
        tryReserveSlot: () => null,
        markSlotUsed: () => undefined,
        releaseSlot: () => permits.release(),
      },
      workflowTaskSlotSupplier: { type: 'fixed-size', numSlots: 2 },
      localActivityTaskSlotSupplier: one,
      nexusTaskSlotSupplier: one,
    },
    close: () => permits.close(),
  };
}

export function createPoolPolling(
  slots: Slots,
  create: (tuner: NonNullable<WorkerOptions['tuner']>) => Promise<Worker>,
  log: Logger,
): PoolPolling {
  const open = async () => {
    const door = poolTuner(slots);
    return { worker: await create(door.tuner), close: door.close };
  };
  return createPolling('stages', open, log);
}

/** Asks for what a queue has, while it is wanted. */
export function createPolling(
  what: string,
  create: () => Promise<{ worker: Worker; close?: () => void }>,
  log: Logger,
): PoolPolling {
  const failed = Promise.withResolvers<never>();
  failed.promise.catch(() => undefined);
  let current: { worker: Worker; ended: Promise<void> } | null = null;
  let change: Promise<void> = Promise.resolve();

  async function open(): Promise<void> {
    const { worker, close: shut = () => undefined } = await create();
    const ended = worker.run().then(shut, (error: unknown) => {
      shut();
      failed.reject(error);
    });
    current = { worker, ended };
    log.info(`the node asks for ${what}`);
  }

  async function close(): Promise<void> {
    if (current === null) return;
    if (current.worker.getState() === 'RUNNING') current.worker.shutdown();
    await current.ended;
    current = null;
    log.info(`the node asks for no more ${what}`);
  }

  return {
    async set(wanted) {
      const next = change.then(async () => {
        if (wanted && current === null) await open();
        if (!wanted) await close();
      });
      change = next.catch(() => undefined);
      await next;
    },
    failed: failed.promise,
  };
}
