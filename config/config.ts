// Step 2: what the environment means. Typed, complete and frozen; nothing below main.ts reads a variable.
import { availableParallelism, homedir, totalmem } from 'node:os';
import { join, resolve } from 'node:path';
import { ConfigError, type Environment, readEnvironment } from './env.ts';
import { type StorageConfig, storageConfig, storageContradictions } from './storage.ts';

export type DatabaseConfig = { kind: 'embedded' } | { kind: 'url'; appUrl: string; ownerUrl: string | null };

export type TemporalConfig =
  | { kind: 'embedded'; program: string | null; uiPort: number | null }
  | { kind: 'address'; address: string; namespace: string; uiUrl: string | null };

export type RunnerConfig =
  | { kind: 'process' }
  | {
      kind: 'docker';
      /** unix://PATH. */
      host: string;
      networkMax: 'open' | 'platform' | 'none';
      /** Private ranges, as ADDRESS/BITS, that the widest network reaches all the same. */
      networkAllow: readonly string[];
    };

/** What a node is to offer; null leaves it to the machine. */
export interface PoolConfig {
  name: string | null;
  slots: number | null;
  /** What one slot offers at most. */
  cpus: number | null;
  memoryGib: number | null;
  devices: number | null;
  /** Ids of the accelerators to hand out; null takes what the machine's tool lists. */
  deviceIds: string[] | null;
  /** Their kind, in lower case. */
  accelerator: string | null;
}

export interface InstallingConfig {
  /** Null is PyPI, or what the pip and uv variables in `environment` say. */
  indexUrl: string | null;
  extraCaFile: string | null;
  environment: Readonly<Record<string, string>>;
}

/** Used where stages run in containers. */
export interface ImagesConfig {
  base: string;
  buildCpus: number;
  buildMemoryBytes: number;
  /** Absolute path of docker's `config.json`; null pulls without a login. */
  loginsFile: string | null;
}

export interface Config {
  /** Absolute path. */
  home: string;
  api: { host: string; port: number; publicUrl: string };
  database: DatabaseConfig;
  temporal: TemporalConfig;
  storage: StorageConfig;
  runner: RunnerConfig;
  images: ImagesConfig;
  pool: PoolConfig;
  installing: InstallingConfig;
  /** Port on which a worker says that it is well; null for none. */
  healthPort: number | null;
  git: { allowPrivateRemotes: boolean };
  logs: { attemptBytesMax: number };
  /** Absolute path of the private key that signs statements about runs. */
  signingKeyFile: string;
  /** Null takes the larger of 1 GiB and 2 % of the disk. */
  diskReserveBytes: number | null;
  /** Null leaves the choice to whoever needs one: stages may need another than the guard. */
  python: string | null;
}

const bytesPerMib = 1024 ** 2;
const bytesPerGib = 1024 ** 3;

/** Where the servers are that a single process uses. */
export interface TeamConfig extends Config {
  database: Extract<DatabaseConfig, { kind: 'url' }>;
  temporal: Extract<TemporalConfig, { kind: 'address' }>;
}

/** The configuration of one process of a team's set-up, which uses servers and starts none. @throws ConfigError */
export function readTeamConfig(env: Environment = readEnvironment()): TeamConfig {
  const config = readConfig(env);
  const { database, temporal } = config;
  const problems = [
    database.kind === 'url' ? [] : ['ASSAY_DATABASE_URL is not set: this process uses a PostgreSQL and starts none.'],
    temporal.kind === 'address'
      ? []
      : ['ASSAY_TEMPORAL_ADDRESS is not set: this process uses a Temporal server and starts none.'],
  ].flat();
  if (database.kind !== 'url' || temporal.kind !== 'address') throw new ConfigError(problems);
  return { ...config, database, temporal };
}

/** @throws ConfigError that lists everything that is wrong. */
export function readConfig(env: Environment = readEnvironment()): Config {
  const problems = contradictions(env);
  if (problems.length > 0) throw new ConfigError(problems);
  const home = resolve(env.ASSAY_HOME ?? join(homedir(), '.assay'));
  return deepFreeze({
    home,
    api: apiConfig(env),
    database: databaseConfig(env),
    temporal: temporalConfig(env),
    storage: storageConfig(env, home),
    runner: runnerConfig(env),
    images: imagesConfig(env),
    pool: poolConfig(env),
    installing: {
      indexUrl: env.ASSAY_INDEX_URL ?? null,
      extraCaFile: env.ASSAY_EXTRA_CA ? resolve(env.ASSAY_EXTRA_CA) : null,
      environment: env.installing,
    },
    logs: { attemptBytesMax: (env.ASSAY_LOG_MAX_MIB ?? 256) * bytesPerMib },
    git: { allowPrivateRemotes: env.ASSAY_ALLOW_PRIVATE_REMOTES === 'yes' },
    healthPort: env.ASSAY_HEALTH_PORT ?? null,
    signingKeyFile: resolve(env.ASSAY_SIGNING_KEY_FILE ?? join(home, 'signing.key')),
    diskReserveBytes: env.ASSAY_DISK_RESERVE_MIB === undefined ? null : env.ASSAY_DISK_RESERVE_MIB * bytesPerMib,
    python: env.ASSAY_PYTHON ?? null,
  });
}

function contradictions(env: Environment): string[] {
  const problems: string[] = [];
  if (env.ASSAY_DATABASE_OWNER_URL && !env.ASSAY_DATABASE_URL) {
    problems.push(
      'ASSAY_DATABASE_OWNER_URL is set without ASSAY_DATABASE_URL: give both roles, or neither to use the embedded PostgreSQL.',
    );
  }
  for (const name of ['ASSAY_TEMPORAL_NAMESPACE', 'ASSAY_TEMPORAL_UI_URL'] as const) {
    if (env[name] && !env.ASSAY_TEMPORAL_ADDRESS) {
      problems.push(`${name} is set without ASSAY_TEMPORAL_ADDRESS: give the server's address, or unset it.`);
    }
  }
  for (const name of ['ASSAY_TEMPORAL_BIN', 'ASSAY_TEMPORAL_UI_PORT'] as const) {
    if (env[name] && env.ASSAY_TEMPORAL_ADDRESS) {
      problems.push(
        `${name} is for the embedded Temporal, but ASSAY_TEMPORAL_ADDRESS names another: unset one of them.`,
      );
    }
  }
  for (const name of ['ASSAY_DOCKER_HOST', 'ASSAY_NETWORK_MAX', 'ASSAY_NETWORK_ALLOW'] as const) {
    if (env[name] && env.ASSAY_RUNNER !== 'docker') {
      problems.push(`${name} is for stages in containers: set ASSAY_RUNNER to docker, or unset it.`);
    }
  }
  if (env.ASSAY_TEMPORAL_UI_PORT && env.ASSAY_TEMPORAL_UI_PORT === (env.ASSAY_PORT ?? defaultPort)) {
    problems.push(
      `ASSAY_TEMPORAL_UI_PORT and the API's port are both ${env.ASSAY_TEMPORAL_UI_PORT}: change one of them.`,
    );
  }
  problems.push(...storageContradictions(env));
  return problems;
}

const defaultPort = 7410;

function apiConfig(env: Environment): Config['api'] {
  const host = env.ASSAY_HOST ?? '127.0.0.1';
  const port = env.ASSAY_PORT ?? defaultPort;
  const publicUrl = env.ASSAY_PUBLIC_URL ?? `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
  return { host, port, publicUrl: publicUrl.replace(/\/+$/, '') };
}

function databaseConfig({
  ASSAY_DATABASE_URL: appUrl,
  ASSAY_DATABASE_OWNER_URL: ownerUrl,
}: Environment): DatabaseConfig {
  return appUrl ? { kind: 'url', appUrl, ownerUrl: ownerUrl ?? null } : { kind: 'embedded' };
}

function temporalConfig(env: Environment): TemporalConfig {
  if (!env.ASSAY_TEMPORAL_ADDRESS) {
    return { kind: 'embedded', program: env.ASSAY_TEMPORAL_BIN ?? null, uiPort: env.ASSAY_TEMPORAL_UI_PORT ?? null };
  }
  return {
    kind: 'address',
    address: env.ASSAY_TEMPORAL_ADDRESS,
    namespace: env.ASSAY_TEMPORAL_NAMESPACE ?? 'assay',
    uiUrl: env.ASSAY_TEMPORAL_UI_URL ?? null,
  };
}

function imagesConfig(env: Environment): ImagesConfig {
  const buildMemoryGib = env.ASSAY_DOCKER_BUILD_MEMORY_GIB;
  return {
    base: env.ASSAY_DOCKER_BASE ?? 'python:{python}-slim-bookworm',
    buildCpus: env.ASSAY_DOCKER_BUILD_CPUS ?? Math.max(1, Math.floor(availableParallelism() / 2)),
    buildMemoryBytes: buildMemoryGib === undefined ? Math.floor(totalmem() / 2) : buildMemoryGib * bytesPerGib,
    loginsFile: env.ASSAY_DOCKER_LOGINS ? resolve(env.ASSAY_DOCKER_LOGINS) : null,
  };
}

function runnerConfig(env: Environment): RunnerConfig {
  if (env.ASSAY_RUNNER !== 'docker') return { kind: 'process' };
  return {
    kind: 'docker',
    host: env.ASSAY_DOCKER_HOST ?? 'unix:///var/run/docker.sock',
    networkMax: env.ASSAY_NETWORK_MAX ?? 'open',
    networkAllow: env.ASSAY_NETWORK_ALLOW ?? [],
  };
}

function poolConfig(env: Environment): PoolConfig {
  return {
    name: env.ASSAY_POOL ?? null,
    slots: env.ASSAY_SLOTS ?? null,
    cpus: env.ASSAY_SLOT_CPUS ?? null,
    memoryGib: env.ASSAY_SLOT_MEMORY_GIB ?? null,
    devices: env.ASSAY_SLOT_GPUS ?? null,
    deviceIds: env.ASSAY_DEVICES?.split(',') ?? null,
    accelerator: env.ASSAY_ACCELERATOR ?? null,
  };
}

function deepFreeze<T extends object>(value: T): T {
  for (const part of Object.values(value)) if (typeof part === 'object' && part !== null) deepFreeze(part);
  return Object.freeze(value);
}
