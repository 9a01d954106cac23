import { setTimeout as sleep } from 'node:timers/promises';

const pauseMs = 25;

/** Tries until `attempt` does not throw. @throws after the time is up, with the last error as the cause. */
export async function untilItWorks(what: string, timeoutMs: number, attempt: () => Promise<void>): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    try {
      return await attempt();
    } catch (cause) {
      if (Date.now() > deadline) throw new Error(`${what} was not ready within ${timeoutMs / 1000} s.`, { cause });
      await sleep(pauseMs);
    }
  }
}
