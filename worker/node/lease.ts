// The lease of this node: its sign of life, and how it hears whether it is to take stages.
import { hostname } from 'node:os';
import type { Database } from '#db/connect.ts';
import { type Duty, registerNode, releaseNode, renewNode } from '#db/nodes.ts';
import type { Logger } from '#worker/logger.ts';
import type { NodeIdentity } from './node.ts';

export const leaseMs = 20_000;
const renewMs = 5_000;

export interface Lease {
  /** What the node was told to do when it last asked. */
  duty: Duty;
  /** Calls back with the node's duty at every renewal from now on. */
  follow(heard: (duty: Duty) => void): void;
  /** Renews now, because the duty may have changed. */
  ask(): Promise<void>;
  stop(): Promise<void>;
}

/** Registers the node before anything polls, and renews until stopped. @throws shape-mismatch */
export async function holdLease(db: Database, node: NodeIdentity, log: Logger): Promise<Lease> {
  const { id, pool, slots, shape, devices, hardware } = node;
  const row = { id, pool, slots, shape, devices, hardware, host: hostname() };
  let heard: (duty: Duty) => void = () => undefined;
  const ask = async () => {
    lease.duty = await renewNode(db, row, leaseMs);
    heard(lease.duty);
  };
  const lease: Lease = {
    duty: await registerNode(db, row, leaseMs),
    follow(callback) {
      heard = callback;
      callback(lease.duty);
    },
    ask,
    async stop() {
      clearInterval(timer);
      await releaseNode(db, id).catch((error: unknown) => log.warn({ error }, 'the node lease was not released'));
    },
  };
  const timer = setInterval(() => {
    ask().catch((error: unknown) => log.warn({ error }, 'the node lease was not renewed'));
  }, renewMs);
  return lease;
}
