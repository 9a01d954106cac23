// What the program of one process does: start, run until a signal, and stop in order. A second signal kills.
import { ConfigError } from '#config/env.ts';
import { DomainError } from '#core/errors.ts';

/** What was started; `failed` rejects when it can not go on. */
export interface Started {
  failed: Promise<never>;
  stop(): Promise<void>;
}

/** Ends the process: 0 after a signal, 1 when it could not start or go on. */
export async function untilStopped(start: () => Promise<Started>): Promise<never> {
  const asked = Promise.withResolvers<void>();
  let signals = 0;
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      signals += 1;
      if (signals > 1) process.exit(1);
      asked.resolve();
    });
  }
  try {
    const starting = start();
    const started = await Promise.race([starting, asked.promise.then(() => null)]);
    if (started === null) {
      await (await starting.catch(() => null))?.stop();
      process.exit(0);
    }
    await Promise.race([asked.promise, started.failed]).catch(async (error: unknown) => {
      await started.stop();
      throw error;
    });
    await started.stop();
    process.exit(0);
  } catch (error) {
    console.error(error instanceof ConfigError || error instanceof DomainError ? error.message : error);
    process.exit(1);
  }
}
