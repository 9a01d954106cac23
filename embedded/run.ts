// What a program that holds a stack does: start it, use it, and stop it in order whatever happens.
import { ConfigError } from '#config/env.ts';
import type { Config } from '#config/config.ts';
import { startStack, type Stack } from './stack.ts';

/**
 * Starts the stack, runs `use` and stops the stack when `use` ends, on a signal, or when the process that started this
 * one is gone; `stopped` aborts then. A second signal kills instead of waiting. Ends the process.
 */
export async function runUntilStopped(
  readConfig: () => Config,
  use: (stack: Stack, secondsToReady: string, stopped: AbortSignal) => Promise<void>,
): Promise<never> {
  const stopping = Promise.withResolvers<number>();
  const stopped = new AbortController();
  let stack: Stack | null = null;
  let signals = 0;
  const onSignal = (code: number) => () => {
    signals += 1;
    if (signals === 1) {
      console.log('\nStopping. Stages that run are asked to end; they start again with the next start.');
      stopping.resolve(code);
    } else {
      stack?.force();
      process.exit(code);
    }
  };
  process.on('SIGINT', onSignal(130));
  process.on('SIGTERM', onSignal(143));
  process.on('SIGHUP', onSignal(129));
  process.on('disconnect', onSignal(0));
  // A terminal that was closed refuses what is written to it; that must not end the process before the stack has stopped.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
  try {
    console.log('Starting PostgreSQL, Temporal, the API and the workers …');
    const starting = startStack(readConfig(), (line) => console.log(line));
    stack = await Promise.race([starting, stopping.promise.then(() => null)]);
    if (stack === null) {
      await (await starting.catch(() => null))?.stop();
      process.exit(await stopping.promise);
    }
    // The clock of `performance` starts with the process, so loading the code counts.
    const seconds = (performance.now() / 1000).toFixed(1);
    const used = use(stack, seconds, stopped.signal).then(() => 0);
    const code = await Promise.race([used, stopping.promise, stack.failure]);
    stopped.abort();
    await stack.stop();
    process.exit(code);
  } catch (error) {
    stopped.abort();
    console.error(sentence(error));
    await stack?.stop();
    process.exit(1);
  }
}

function sentence(error: unknown): string {
  if (error instanceof ConfigError) return error.message;
  return error instanceof Error ? error.message : String(error);
}
