// The whole of Assay in one process: the servers under their guard, then the API and both workers on top.
import { open, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ensureFirstToken } from '#api/first-token.ts';
import { startApi } from '#api/start.ts';
import type { Config } from '#config/config.ts';
import { readEnvironment } from '#config/env.ts';
import { readSecrets, type Secrets } from '#config/secrets.ts';
import { migrate } from '#db/migrate.ts';
import { isDatabaseUnavailable } from '#db/unavailable.ts';
import type { Mirrors } from '#git/mirror.ts';
import { startControlWorker } from '#worker/control-worker.ts';
import { createLogger } from '#worker/logger.ts';
import { identifyNode } from '#worker/node/node.ts';
import { hostAccess, openMirrors, openParts, openStageParts, openWorkerParts } from '#worker/parts.ts';
import { openSigningKey } from '#worker/signing-key.ts';
import { startStageWorker } from '#worker/stage-worker.ts';
import type { RunningWorker, WorkerDeps } from '#worker/temporal/runtime.ts';
import { cachedWorkflowBundle } from '#worker/temporal/workflow-bundle.ts';
import { type Services, startServices } from './services.ts';

export interface Stack {
  apiUrl: string;
  temporalUiUrl: string | null;
  /** Holds an operator's token; only its owner may read it. */
  tokenFile: string;
  /** Folder with the logs of Assay and of its servers. */
  logs: string;
  /** Process ids of the guard and the servers. */
  pids: () => ReadonlyMap<string, number>;
  /** Stops everything in the reverse order of starting. */
  stop: () => Promise<void>;
  /** Kills the servers instead of waiting, also while `stop` waits. */
  force: () => void;
  /** Rejects with a sentence when the stack cannot go on; never resolves. */
  failure: Promise<never>;
}

/**
 * Starts everything that the configuration does not place elsewhere.
 * @param say receives the few lines that a person should see.
 */
export async function startStack(config: Config, say: (line: string) => void): Promise<Stack> {
  const services = await startServices(config, say);
  const undo: Array<() => Promise<unknown>> = [services.stop];
  const stop = async () => {
    for (const step of undo.splice(0).toReversed()) await step();
  };
  try {
    const programs = await startAgain(services, () => startPrograms(config, services, say));
    undo.push(programs.stop);
    const { tokenFile, failed } = programs;
    return {
      apiUrl: config.api.publicUrl,
      temporalUiUrl: services.temporal.uiUrl,
      tokenFile,
      logs: join(config.home, 'logs'),
      pids: services.pids,
      stop,
      force: services.force,
      failure: Promise.race([services.failure, ...failed]),
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

const startsMax = 5;
/** A connection that breaks is seen sooner than the death of the server behind it. */
const noticeMs = 1_000;

/** What fails because a server died under it is started again when the server is back. */
async function startAgain<R>(services: Services, start: () => Promise<R>): Promise<R> {
  for (let starts = 1; ; starts += 1) {
    const before = services.restarts();
    try {
      return await start();
    } catch (error) {
      await sleep(noticeMs);
      // A server that recovers from a crash of its own was not started again, and refuses all the same.
      const serverDied = services.restarts() !== before || isDatabaseUnavailable(error);
      if (!serverDied || starts === startsMax) throw error;
      await services.ready();
    }
  }
}

interface Programs {
  tokenFile: string;
  failed: Array<Promise<never>>;
  /** Stops everything in the reverse order of starting. */
  stop: () => Promise<void>;
}

/** The API and the workers, on servers that answer. */
async function startPrograms(config: Config, services: Services, say: (line: string) => void): Promise<Programs> {
  const undo: Array<() => Promise<unknown>> = [];
  const stop = async () => {
    for (const step of undo.splice(0).toReversed()) await step();
  };
  try {
    const secrets = await readSecrets(config.home, readEnvironment());
    const [bundle] = await Promise.all([cachedWorkflowBundle(config.home, say), migrate(services.database.ownerUrl)]);
    const log = createLogger('warn', await logFile(config.home));
    const places = { databaseUrl: services.database.appUrl, temporal: services.temporal };
    const parts = await openParts(config, secrets, places, log);
    undo.push(parts.close);
    const mirrors = openMirrors(config, secrets, parts);
    const tokenFile = join(config.home, 'token');
    await ensureFirstToken(parts.connection.db, tokenFile);
    const { connection, store, lakeEngine } = parts;
    const { temporal } = services;
    const secretsKey = secrets.sealingKey;
    const api = await startApi(config, { connection, store, mirrors, lakeEngine, temporal, secretsKey, log });
    undo.push(api.close);
    const shared = await openWorkerParts(config, places, parts, log);
    const workers = await startWorkers(config, secrets, { shared, mirrors }, bundle);
    undo.push(() => Promise.all(workers.map((worker) => worker.stop())));
    return { tokenFile, failed: workers.map((worker) => worker.failed), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** The stage worker comes first, so that it has taken back its running stages before anything new is given out. */
async function startWorkers(
  config: Config,
  secrets: Secrets,
  { shared, mirrors }: { shared: WorkerDeps; mirrors: Mirrors },
  bundle: { codePath: string },
): Promise<RunningWorker[]> {
  const node = await identifyNode(config.home, config.pool);
  const stage = await startStageWorker({
    ...shared,
    ...(await openStageParts(config, shared)),
    node,
    secretsKey: secrets.sealingKey,
    logBytesMax: config.logs.attemptBytesMax,
    diskReserveBytes: config.diskReserveBytes,
  });
  try {
    const signer = await openSigningKey(shared.connection.db, config.signingKeyFile);
    const control = { ...shared, mirrors, hosts: hostAccess(config), secretsKey: secrets.sealingKey, signer };
    return [stage, await startControlWorker(control, bundle)];
  } catch (error) {
    await stage.stop();
    throw error;
  }
}

/** Of a log that is put aside at the next start; what it then holds is kept once. */
const logBytesMax = 16 * 1024 ** 2;

async function logFile(home: string): Promise<string> {
  const path = join(home, 'logs', 'assay.log');
  const handle = await open(path, 'a', 0o600);
  const { size } = await handle.stat();
  await handle.close();
  if (size > logBytesMax) await rename(path, `${path}.1`);
  return path;
}
