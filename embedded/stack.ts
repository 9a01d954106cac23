// The whole of Assay in one process: the servers under their guard, then the API and both workers on top.
import { chmod, mkdir, open, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { gitCredentials } from '#activities/git-credentials.ts';
import { findPython } from '#activities/runners/find-python.ts';
import { createProcessRunner } from '#activities/runners/process.ts';
import { ensureBuilder, ensureStageUser } from '#activities/runners/stage-user.ts';
import { ensureFirstToken } from '#api/first-token.ts';
import { startApi } from '#api/main.ts';
import type { Config } from '#config/config.ts';
import { readSecrets, type Secrets } from '#config/secrets.ts';
import { connect } from '#db/connect.ts';
import { migrate } from '#db/migrate.ts';
import { isDatabaseUnavailable } from '#db/unavailable.ts';
import { createMirrors } from '#git/mirror.ts';
import { createLakeEngine } from '#lake/engine/engine.ts';
import { createDiskStore } from '#storage/disk.ts';
import { createLogger } from '#worker/logger.ts';
import { type RunningWorker, startControlWorker, startStageWorker, type WorkerDeps } from '#worker/main.ts';
import { identifyNode } from '#worker/node.ts';
import { reachableFolder } from './reachable-folder.ts';
import { type Services, startServices } from './services.ts';
import { cachedWorkflowBundle } from './workflow-bundle.ts';

/** Of one bundle, one fetch and one commit's tree. */
const codeLimits = { sizeBytesMax: 2 * 1024 ** 3, filesMax: 200_000, timeoutMs: 600_000 };

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

/** What the API and the workers are built from. */
type Parts = Awaited<ReturnType<typeof createParts>>;

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
    const secrets = await readSecrets(config.home);
    const [bundle] = await Promise.all([cachedWorkflowBundle(config.home, say), migrate(services.database.ownerUrl)]);
    const parts = await createParts(config, services, secrets);
    undo.push(parts.close);
    const tokenFile = join(config.home, 'token');
    await ensureFirstToken(parts.shared.connection.db, tokenFile);
    const api = await startApi(config, { ...parts.api, secretsKey: secrets.sealingKey });
    undo.push(api.close);
    const workers = await startWorkers(config, secrets, parts, bundle);
    undo.push(() => Promise.all(workers.map((worker) => worker.stop())));
    return { tokenFile, failed: workers.map((worker) => worker.failed), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function createParts(config: Config, services: Services, secrets: Secrets) {
  const log = createLogger('warn', await logFile(config.home));
  const reachable = await reachableFolder(config.home);
  const nodeDir = await openFolder(join(reachable, 'node'));
  const cacheDir = await openFolder(join(reachable, 'environments'));
  const stageUser = await ensureStageUser();
  const python = await findPython(stageUser, config.python ?? undefined);
  const connection = connect(services.database.appUrl, {
    connectionsMax: 20,
    onError: (error) => log.warn({ error }, 'a database connection was lost'),
  });
  const store = await createDiskStore({ root: config.storage.path });
  const engine = createLakeEngine({ cacheDir: join(config.home, 'lake') });
  const { extraCaFile, indexUrl, environment: variables } = config.installing;
  const mirrors = createMirrors({
    rootDir: join(config.home, 'git'),
    limits: codeLimits,
    allowPrivateRemotes: config.git.allowPrivateRemotes,
    credentials: (projectId, host) =>
      gitCredentials({ db: connection.db, secretsKey: secrets.sealingKey }, projectId, host),
    ...(extraCaFile === null ? {} : { certificateFile: extraCaFile }),
  });
  const shared: WorkerDeps = {
    connection,
    store,
    lake: { db: connection.db, store, engine },
    temporal: services.temporal,
    environment: {
      cacheDir,
      variables,
      python,
      index: { defaultIndex: indexUrl },
      extraCaFile,
      builder: await ensureBuilder(),
    },
    nodeDir,
    publicUrl: config.api.publicUrl,
    log,
  };
  return {
    shared,
    mirrors,
    runner: createProcessRunner({ stateDir: join(config.home, 'launches'), python, stageUser }),
    api: { connection, store, mirrors, lakeEngine: engine, temporal: services.temporal, log },
    close: async () => {
      await engine.close();
      await connection.close();
    },
  };
}

/** The stage worker comes first, so that it has taken back its running stages before anything new is given out. */
async function startWorkers(
  config: Config,
  secrets: Secrets,
  { shared, mirrors, runner }: Parts,
  bundle: { codePath: string },
): Promise<RunningWorker[]> {
  const node = await identifyNode(config.home, config.pool);
  const stage = await startStageWorker({
    ...shared,
    runner,
    node,
    secretsKey: secrets.sealingKey,
    logBytesMax: config.logs.attemptBytesMax,
  });
  try {
    return [stage, await startControlWorker({ ...shared, mirrors }, bundle)];
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

/** Other accounts may pass through, and see nothing that is not theirs. */
async function openFolder(path: string): Promise<string> {
  await mkdir(path, { recursive: true });
  if (process.getuid?.() === 0) await chmod(path, 0o711);
  return path;
}
