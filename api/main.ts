// `node api/main.ts`: the API of a team's set-up, until SIGTERM or Ctrl-C.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { readTeamConfig } from '#config/config.ts';
import { readEnvironment } from '#config/env.ts';
import { readSecrets } from '#config/secrets.ts';
import { createLogger } from '#worker/logger.ts';
import { openMirrors, openParts } from '#worker/parts.ts';
import { untilStopped } from '#worker/until-stopped.ts';
import { ensureFirstToken } from './first-token.ts';
import { startApi } from './start.ts';

const log = createLogger('info');

await untilStopped(log, async () => {
  const env = readEnvironment();
  const config = readTeamConfig(env);
  await mkdir(config.home, { recursive: true, mode: 0o700 });
  const secrets = await readSecrets(config.home, env);
  const parts = await openParts(config, secrets, { databaseUrl: config.database.appUrl }, log);
  try {
    await ensureFirstToken(parts.connection.db, join(config.home, 'token'));
    const { connection, store, lakeEngine } = parts;
    const mirrors = openMirrors(config, secrets, parts);
    const { temporal } = config;
    const api = await startApi(config, {
      connection,
      store,
      mirrors,
      lakeEngine,
      temporal,
      secretsKey: secrets.sealingKey,
      log,
    });
    log.info({ url: api.url }, 'the API is ready');
    return {
      failed: new Promise<never>(() => undefined),
      stop: async () => {
        try {
          await api.close();
        } finally {
          await parts.close();
        }
      },
    };
  } catch (error) {
    await parts.close();
    throw error;
  }
});
