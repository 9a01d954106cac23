// What the program of one process does: start, run until a signal, and stop in order. A second signal kills.
import { setTimeout as sleep } from 'node:timers/promises';
import { isMistake } from '#activities/mistakes.ts';
import { ConfigError } from '#config/env.ts';
import { DomainError } from '#core/errors.ts';
import type { Logger } from './logger.ts';

/** What was started; `failed` rejects when it can not go on. */
export interface Started {
  failed: Promise<never>;
  stop(): Promise<void>;
}

const pauseMsMax = 10_000;
/** What nobody but the operator can change: waiting does not help. */
const ofTheOperator = new Set(['EACCES', 'EADDRINUSE', 'EADDRNOTAVAIL', 'ENOSPC', 'EPERM', 'EROFS']);

/**
 * Ends the process: 0 after a signal, 1 when it could not start or go on. The servers that it uses may come later than
 * this process: a start that does not reach them is repeated.
 */
export async function untilStopped(log: Logger, start: () => Promise<Started>): Promise<never> {
  const asked = new AbortController();
  let signals = 0;
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      signals += 1;
      if (signals > 1) process.exit(1);
      asked.abort();
    });
  }
  try {
    const started = await startWhenReachable(log, start, asked.signal);
    if (started === null) process.exit(0);
    const stopAsked = new Promise<void>((resolve) => asked.signal.addEventListener('abort', () => resolve()));
    if (!asked.signal.aborted) {
      await Promise.race([stopAsked, started.failed]).catch(async (error: unknown) => {
        await started.stop();
        throw error;
      });
    }
    await started.stop();
    process.exit(0);
  } catch (error) {
    console.error(error instanceof ConfigError || error instanceof DomainError ? error.message : error);
    process.exit(1);
  }
}

async function startWhenReachable(
  log: Logger,
  start: () => Promise<Started>,
  stop: AbortSignal,
): Promise<Started | null> {
  for (let pauseMs = 500; !stop.aborted; pauseMs = Math.min(pauseMs * 2, pauseMsMax)) {
    try {
      return await start();
    } catch (error) {
      if (isHopeless(error)) throw error;
      log.warn({ error }, `a server can not be used yet; the next try is in ${pauseMs / 1000} s`);
    }
    await sleep(pauseMs, undefined, { signal: stop }).catch(() => undefined);
  }
  return null;
}

function isHopeless(error: unknown): boolean {
  if (error instanceof ConfigError || error instanceof DomainError || isMistake(error)) return true;
  return ofTheOperator.has(String((error as NodeJS.ErrnoException).code));
}
