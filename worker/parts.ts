// What the API and the workers are built from, as the configuration says. Every process opens only what it uses.
import { chmod, mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type Docker from 'dockerode';
import { gitCredentials } from '#activities/git-credentials.ts';
import { createDockerRunner, nodeOf } from '#activities/runners/docker/docker-runner.ts';
import { connectDocker, untilEngineAnswers } from '#activities/runners/docker/engine.ts';
import { createNetworks, type Networks } from '#activities/runners/docker/networks/networks.ts';
import { findPython } from '#activities/runners/find-python.ts';
import { createProcessRunner } from '#activities/runners/process.ts';
import type { Runner } from '#activities/runners/runner.ts';
import { ensureBuilder, ensureStageUser, type StageUser } from '#activities/runners/stage-user.ts';
import type { Config } from '#config/config.ts';
import { ConfigError } from '#config/env.ts';
import type { Secrets } from '#config/secrets.ts';
import { connect, type Connection } from '#db/connect.ts';
import type { EnvironmentOptions } from '#environment/context.ts';
import type { HostAccess } from '#git/host/request.ts';
import { createMirrors, type Mirrors } from '#git/mirror.ts';
import { createLakeEngine, type LakeEngine } from '#lake/engine/engine.ts';
import { createDiskStore } from '#storage/disk.ts';
import { type BlobStore, StorageUnavailableError } from '#storage/blob-store.ts';
import { markDamage } from '#storage/mark-damage.ts';
import { createS3Store, type S3StoreOptions } from '#storage/s3.ts';
import { imageSettings } from './image-settings.ts';
import type { Logger } from './logger.ts';
import { reachableFolder } from './node/reachable-folder.ts';
import { sweepStorageDaily } from './sweep-storage.ts';
import type { WorkerDeps } from './temporal/runtime.ts';

/** Of one bundle, one fetch and one commit's tree. */
const codeLimits = { sizeBytesMax: 2 * 1024 ** 3, filesMax: 200_000, timeoutMs: 600_000 };
const connectionsMax = 20;

/** Where this process finds what it uses. */
export interface Places {
  databaseUrl: string;
  temporal: { address: string; namespace: string };
}

/** What every process needs. */
export interface Parts {
  connection: Connection;
  store: BlobStore;
  lakeEngine: LakeEngine;
  close: () => Promise<void>;
}

export async function openParts(
  config: Config,
  secrets: Secrets,
  places: Pick<Places, 'databaseUrl'>,
  log: Logger,
): Promise<Parts> {
  const bytes = await openStore(config, secrets);
  const connection = connect(places.databaseUrl, {
    connectionsMax,
    onError: (error) => log.warn({ error }, 'a database connection was lost'),
  });
  const store = markDamage(bytes, connection.db);
  const lakeEngine = createLakeEngine({ cacheDir: join(config.home, 'lake') });
  const stopSweeping = sweepStorageDaily(store, log);
  const close = async () => {
    stopSweeping();
    await lakeEngine.close();
    await connection.close();
  };
  return { connection, store, lakeEngine, close };
}

/** What is wrong with a bucket is said like any other mistake of the configuration, before anything starts. */
async function openStore(config: Config, secrets: Secrets): Promise<BlobStore> {
  const { storage } = config;
  if (storage.kind === 'disk') return await createDiskStore({ root: storage.path });
  return await createS3Store(await s3Options(config, storage, secrets)).catch((error: unknown) => {
    throw error instanceof StorageUnavailableError && !error.isAway ? new ConfigError([error.message]) : error;
  });
}

export async function s3Options(
  { home, installing: { extraCaFile } }: Config,
  storage: Extract<Config['storage'], { kind: 's3' }>,
  { s3Credentials }: Pick<Secrets, 's3Credentials'>,
): Promise<S3StoreOptions> {
  return {
    ...storage,
    credentials: s3Credentials?.() ?? null,
    extraCa: extraCaFile === null ? null : await readFile(extraCaFile, 'utf8'),
    spoolDir: join(home, 'incoming'),
  };
}

/** The bare mirrors of the projects: the API puts commits there, control workers read them, so they share the folder. */
export function openMirrors(config: Config, secrets: Secrets, { connection }: Parts): Mirrors {
  const { extraCaFile } = config.installing;
  return createMirrors({
    rootDir: join(config.home, 'git'),
    limits: codeLimits,
    allowPrivateRemotes: config.git.allowPrivateRemotes,
    credentials: (projectId, host) =>
      gitCredentials({ db: connection.db, secretsKey: secrets.sealingKey }, projectId, host),
    ...(extraCaFile === null ? {} : { certificateFile: extraCaFile }),
  });
}

/** How the APIs of git hosts are reached: as remotes are. */
export function hostAccess(config: Config): HostAccess {
  return {
    allowPrivateRemotes: config.git.allowPrivateRemotes,
    certificateFile: config.installing.extraCaFile,
  };
}

/** What both kinds of worker need besides. */
export async function openWorkerParts(
  config: Config,
  places: Places,
  { connection, store, lakeEngine }: Parts,
  log: Logger,
): Promise<WorkerDeps> {
  return {
    connection,
    store,
    lake: { db: connection.db, store, engine: lakeEngine },
    temporal: { address: places.temporal.address, namespace: places.temporal.namespace },
    builder: await ensureBuilder(),
    nodeDir: await openFolder(join(await reachableFolder(config.home), 'node')),
    publicUrl: config.api.publicUrl,
    offer: config.runner,
    log,
  };
}

/** What makes environments and runs stages on this machine; a control worker does neither. */
export async function openStageParts(
  config: Config,
  { builder }: Pick<WorkerDeps, 'builder'>,
): Promise<{ environment: EnvironmentOptions; runner: Runner }> {
  const stageUser = await ensureStageUser();
  const python = await findPython(stageUser, config.python ?? undefined);
  const { extraCaFile, indexUrl, environment: variables } = config.installing;
  const docker = await openEngine(config);
  const networks = docker === null ? null : openNetworks(config, docker);
  const environment = {
    cacheDir: await openFolder(join(await reachableFolder(config.home), 'environments')),
    variables,
    python,
    index: { defaultIndex: indexUrl },
    extraCaFile,
    builder,
    images: imageSettings(config.images, docker, networks),
  };
  return { environment, runner: openRunner(config, docker, networks, python, stageUser) };
}

/** Null where stages run as processes. Resolves once the engine answers. */
async function openEngine({ runner }: Config): Promise<Docker | null> {
  if (runner.kind === 'process') return null;
  const docker = connectDocker(runner.host);
  await untilEngineAnswers(docker, runner.host);
  return docker;
}

function openRunner(
  { home }: Config,
  docker: Docker | null,
  networks: Networks | null,
  python: string,
  stageUser: StageUser | null,
): Runner {
  const stateDir = join(home, 'launches');
  if (docker === null || networks === null) return createProcessRunner({ stateDir, python, stageUser });
  return createDockerRunner({ docker, stateDir, python, stageUser, networks });
}

function openNetworks({ home, runner, api }: Config, docker: Docker): Networks | null {
  if (runner.kind === 'process') return null;
  const stateDir = join(home, 'launches');
  return createNetworks({
    docker,
    node: nodeOf(stateDir),
    stateDir,
    apiUrl: api.publicUrl,
    most: runner.networkMax,
    allowed: runner.networkAllow,
  });
}

/** Other accounts may pass through, and see nothing that is not theirs. */
async function openFolder(path: string): Promise<string> {
  await mkdir(path, { recursive: true });
  if (process.getuid?.() === 0) await chmod(path, 0o711);
  return path;
}
