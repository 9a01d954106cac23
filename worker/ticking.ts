// Work that is done again and again until it is stopped; a pass that takes longer than the pause delays the next one.
import type { Logger } from './logger.ts';

/** A pass that fails is reported and repeated at the next tick. `stop` waits for the pass that is under way. */
export function startTicking(
  everyMs: number,
  pass: () => Promise<void>,
  log: Logger,
  what: string,
): { stop(): Promise<void> } {
  let running: Promise<void> | null = null;
  const timer = setInterval(() => {
    running ??= pass()
      .catch((error: unknown) => log.warn({ error }, `${what} was interrupted and goes on at the next tick`))
      .finally(() => {
        running = null;
      });
  }, everyMs);
  return {
    async stop() {
      clearInterval(timer);
      await running;
    },
  };
}
