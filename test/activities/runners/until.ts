import { setTimeout } from 'node:timers/promises';

/** Resolves once the condition holds; fails when it does not within the bound. */
export async function until(holds: () => Promise<boolean> | boolean, boundMs = 10_000): Promise<void> {
  const end = Date.now() + boundMs;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`The condition did not hold within ${boundMs} ms: ${holds.toString()}`);
    await setTimeout(10);
  }
}
