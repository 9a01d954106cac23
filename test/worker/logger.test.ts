import { expect, it } from 'vitest';
import { createLogger } from '#worker/logger.ts';

it.runIf(process.platform === 'linux')('a log on a full disk does not end the process that writes it', async () => {
  const log = createLogger('warn', '/dev/full');
  for (let n = 0; n < 100; n += 1) log.warn(`line ${n}`);
  await new Promise((resolve) => log.flush(resolve));
  expect(log.level).toBe('warn');
});
