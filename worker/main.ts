// `node worker/main.ts --role control | stage`: one worker of a team's set-up, until SIGTERM or Ctrl-C.
import { createServer } from 'node:http';
import { chmod, mkdir } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { readTeamConfig, type TeamConfig } from '#config/config.ts';
import { ConfigError, readEnvironment } from '#config/env.ts';
import { readSecrets, type Secrets } from '#config/secrets.ts';
import { startControlWorker } from './control-worker.ts';
import { createLogger } from './logger.ts';
import { identifyNode } from './node/node.ts';
import { hostAccess, openMirrors, openParts, openStageParts, openWorkerParts } from './parts.ts';
import { openSigningKey } from './signing-key.ts';
import { startStageWorker } from './stage-worker.ts';
import type { RunningWorker } from './temporal/runtime.ts';
import { cachedWorkflowBundle } from './temporal/workflow-bundle.ts';
import { untilStopped } from './until-stopped.ts';

const roles = ['control', 'stage'] as const;
type Role = (typeof roles)[number];

interface Arguments {
  role: Role;
  pool: string | null;
}

const log = createLogger('info');

await untilStopped(log, async () => {
  const { role, pool } = readArguments();
  const env = readEnvironment(pool === null ? process.env : { ...process.env, ASSAY_POOL: pool });
  const config = readTeamConfig(env);
  await mkdir(config.home, { recursive: true });
  // Stages run as another account, which has to pass through to what is theirs.
  if (process.getuid?.() === 0) await chmod(config.home, 0o711);
  const secrets = await readSecrets(config.home, env);
  const worker = await startWorker(role, config, secrets);
  const closeHealth = await answerHealth(config.healthPort, role);
  log.info({ role }, 'the worker is ready');
  return {
    failed: worker.failed,
    async stop() {
      log.info({ role }, 'the worker stops');
      await closeHealth();
      await worker.stop();
    },
  };
});

function readArguments(): Arguments {
  const { values } = parseArgs({ options: { role: { type: 'string' }, pool: { type: 'string' } } });
  const role = roles.find((known) => known === values.role);
  if (role === undefined)
    throw new ConfigError([`--role is ${values.role ?? 'not given'}: expected ${roles.join(' or ')}.`]);
  return { role, pool: values.pool ?? null };
}

async function startWorker(role: Role, config: TeamConfig, secrets: Secrets): Promise<RunningWorker> {
  const places = { databaseUrl: config.database.appUrl, temporal: config.temporal };
  const parts = await openParts(config, secrets, places, log);
  try {
    const shared = await openWorkerParts(config, places, parts, log);
    const start = {
      control: async () =>
        startControlWorker(
          {
            ...shared,
            mirrors: openMirrors(config, secrets, parts),
            hosts: hostAccess(config),
            secretsKey: secrets.sealingKey,
            signer: await openSigningKey(parts.connection.db, config.signingKeyFile),
          },
          await cachedWorkflowBundle(config.home, (line) => log.info(line)),
        ),
      stage: async () =>
        startStageWorker({
          ...shared,
          ...(await openStageParts(config, shared)),
          node: await identifyNode(config.home, config.pool),
          secretsKey: secrets.sealingKey,
          logBytesMax: config.logs.attemptBytesMax,
          diskReserveBytes: config.diskReserveBytes,
        }),
    };
    const worker = await start[role]();
    const stop = async () => {
      try {
        await worker.stop();
      } finally {
        await parts.close();
      }
    };
    return { failed: worker.failed, stop };
  } catch (error) {
    await parts.close();
    throw error;
  }
}

/** A worker that polls answers; one that is stopping does not. */
async function answerHealth(port: number | null, role: Role): Promise<() => Promise<void>> {
  if (port === null) return () => Promise.resolve();
  const server = createServer((request, response) => {
    const known = request.url === '/health';
    response.writeHead(known ? 200 : 404, { 'content-type': 'application/json' });
    response.end(JSON.stringify(known ? { status: 'ok', role } : { status: 'not found' }));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, resolve);
  });
  return () =>
    new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
}
