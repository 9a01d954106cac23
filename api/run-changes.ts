// Wakes those who follow a run when it changes: one LISTEN connection for all of them. A notification is a hint to look,
// never the news itself; whoever follows looks at intervals too, so a lost one costs time and nothing else.
import { setTimeout as pause } from 'node:timers/promises';
import pg from 'pg';
import type { FastifyBaseLogger } from 'fastify';

export interface RunChanges {
  /** Watches until the signal fires. Start watching before the first look, so that no change falls in between. */
  watch: (runId: string, signal: AbortSignal) => RunWatch;
  close: () => Promise<void>;
}

export interface RunWatch {
  /** Resolves when the run changed since the call before, after the safety interval, or when the signal fires. */
  changed: () => Promise<void>;
}

const channel = 'run_changed';
const safetyMs = 2_000;
/** Without a working LISTEN connection. */
const pollMs = 500;
const reconnectMs = 1_000;
/** A change is told at once; those that follow within this time are looked at together. */
const gapMs = 40;

export function createRunChanges(pool: pg.Pool, log: FastifyBaseLogger): RunChanges {
  const watched = new Map<string, Set<() => void>>();
  const stopping = new AbortController();
  let listening = false;
  let loop: Promise<void> | null = null;

  const ring = (runId: string) => {
    for (const wake of watched.get(runId) ?? []) wake();
  };

  async function listenOnce(): Promise<void> {
    const client = new pg.Client(pool.options);
    const ended = new Promise<void>((resolve) => {
      client.once('end', resolve);
      client.on('error', (error) => {
        log.warn({ err: error }, 'listening for changes was interrupted');
        resolve();
      });
      stopping.signal.addEventListener('abort', () => resolve(), { once: true });
    });
    client.on('notification', ({ payload }) => ring(payload ?? ''));
    try {
      await client.connect();
      await client.query(`listen ${channel}`);
      listening = true;
      for (const runId of watched.keys()) ring(runId);
      await ended;
    } finally {
      listening = false;
      await client.end();
    }
  }

  async function listen(): Promise<void> {
    while (!stopping.signal.aborted) {
      await listenOnce().catch((error: unknown) => log.warn({ err: error }, 'changes are polled for now'));
      if (!stopping.signal.aborted) await abortablePause(reconnectMs, stopping.signal);
    }
  }

  return {
    watch(runId, signal) {
      loop ??= listen();
      const bell = createBell();
      const bells = watched.get(runId) ?? new Set();
      watched.set(runId, bells.add(bell.ring));
      signal.addEventListener(
        'abort',
        () => {
          bells.delete(bell.ring);
          if (bells.size === 0 && watched.get(runId) === bells) watched.delete(runId);
          bell.ring();
        },
        { once: true },
      );
      let answeredMs = Number.NEGATIVE_INFINITY;
      return {
        async changed() {
          if (signal.aborted) return;
          await bell.rung(listening ? safetyMs : pollMs);
          const waitMs = answeredMs + gapMs - performance.now();
          if (waitMs > 0 && !signal.aborted) await pause(waitMs);
          answeredMs = performance.now();
        },
      };
    },
    async close() {
      stopping.abort();
      await loop;
    },
  };
}

/** Remembers a ring that came while nobody waited. */
function createBell() {
  let rang = false;
  let wake: (() => void) | null = null;
  return {
    ring: () => {
      rang = true;
      wake?.();
    },
    rung: async (waitMs: number): Promise<void> => {
      if (!rang) {
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, waitMs);
          wake = () => {
            clearTimeout(timer);
            resolve();
          };
        });
      }
      rang = false;
      wake = null;
    },
  };
}

async function abortablePause(ms: number, signal: AbortSignal): Promise<void> {
  await pause(ms, undefined, { signal }).catch((error: unknown) => {
    if (!signal.aborted) throw error;
  });
}
