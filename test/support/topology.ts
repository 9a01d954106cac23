// The team set-up as separate processes: PostgreSQL, a Temporal server on it, an S3 server, the API, a control worker and
// stage workers, each started again when it dies, as docker-compose.yml has them. Everything listens on loopback.
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { chmod, mkdir } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type Guard, startGuard } from '#embedded/guard.ts';
import { freePort, isFree } from '#embedded/ports.ts';
import { postgresOn, preparePostgres } from '#embedded/postgres.ts';
import { installGoProgram, temporalServer, temporalSqlTool } from '#embedded/setup/go-program.mjs';
import { type Client, createClient } from '#sdk/client.ts';
import { testBaseImage } from './docker.ts';
import { s3ServerIn } from './s3-server.ts';
import { until } from './stack.ts';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../..', import.meta.url));
const node = join(root, 'node_modules', '.bin', 'node');
const path = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'].join(delimiter);
const bucket = 'assay';

export interface TopologyOptions {
  /** An empty directory that other accounts can pass through. */
  home: string;
  stageWorkers: number;
  slots: number;
  /** Blobs in an S3 server of its own instead of a shared folder. */
  s3?: boolean;
  /** Stages in containers of the machine's engine. */
  docker?: boolean;
  /** On top of what every process of ours gets. */
  env?: Record<string, string>;
}

export interface Topology {
  url: string;
  client(): Client;
  databaseUrls: DatabaseUrls;
  temporalAddress: string;
  /** The process of this name that lives now: postgres, temporal, s3, api, control, stage-1 and so on. */
  pid(name: string): number | undefined;
  /** Ends that process, which is started again. */
  kill(name: string, signal: NodeJS.Signals): boolean;
  names: readonly string[];
  /** The folder that holds `objects/`, also where an S3 server keeps it. */
  blobs: string;
  /** Launches that the stage worker of this name holds. */
  launches(stageWorker: string): string[];
  log(name: string): string;
  stop(): Promise<void>;
}

/** Resolves when the API answers and every stage worker has registered. */
export async function startTopology(options: TopologyOptions): Promise<Topology> {
  const { home } = options;
  await mkdir(join(home, 'logs'), { recursive: true });
  await chmod(home, 0o711);
  const guard = await startGuard({ python: process.env.ASSAY_PYTHON ?? 'python3' });
  try {
    return await startAll(options, guard);
  } catch (error) {
    await guard.stop();
    throw error;
  }
}

async function startAll(options: TopologyOptions, guard: Guard): Promise<Topology> {
  const { home } = options;
  const urls = await startDatabase(home, guard);
  const temporal = await startTemporal(home, guard, urls);
  const storage = options.s3 === true ? await startS3(home, guard) : onDisk(join(home, 'blobs'));
  const apiPort = await freePort();
  const url = `http://127.0.0.1:${apiPort}`;
  const common = {
    PATH: path,
    HOME: home,
    ASSAY_DATABASE_URL: urls.app,
    ASSAY_TEMPORAL_ADDRESS: temporal,
    ASSAY_SECRET_KEY: randomBytes(32).toString('base64'),
    ...storage.env,
    ASSAY_PUBLIC_URL: url,
    NODE_COMPILE_CACHE: join(root, 'node_modules', '.cache', 'node'),
    ...certificates(),
    ...(options.docker === true ? { ASSAY_RUNNER: 'docker', ASSAY_DOCKER_BASE: testBaseImage } : {}),
    ...options.env,
  };
  // API and control worker share the mirrors, as they share a volume in docker-compose.yml.
  const server = join(home, 'server');
  await migrate({ ...common, ASSAY_DATABASE_OWNER_URL: urls.owner });
  const stageWorkers = Array.from({ length: options.stageWorkers }, (_, index) => `stage-${index + 1}`);
  await startProgram(guard, home, 'api', [join(root, 'api/main.ts')], {
    ...common,
    ASSAY_HOME: server,
    ASSAY_PORT: String(apiPort),
  });
  await startProgram(guard, home, 'control', [join(root, 'worker/main.ts'), '--role', 'control'], {
    ...common,
    ASSAY_HOME: server,
  });
  for (const name of stageWorkers) {
    await startProgram(guard, home, name, [join(root, 'worker/main.ts'), '--role', 'stage', '--pool', 'cpu'], {
      ...common,
      ASSAY_HOME: join(home, name),
      ASSAY_SLOTS: String(options.slots),
    });
  }
  const names = ['postgres', 'temporal', ...(options.s3 === true ? ['s3'] : []), 'api', 'control', ...stageWorkers];
  const client = () => createClient({ url, token: readFileSync(join(server, 'token'), 'utf8').trim() });
  const topology: Topology = {
    url,
    client,
    databaseUrls: urls,
    temporalAddress: temporal,
    names,
    blobs: storage.blobs,
    pid: (name) => guard.pids().get(name),
    kill(name, signal) {
      const pid = guard.pids().get(name);
      return pid !== undefined && send(pid, signal);
    },
    launches: (name) => launchesIn(join(home, name, 'launches')),
    log: (name) => readFileSync(join(home, 'logs', `${name}.log`), 'utf8'),
    stop: () => guard.stop(),
  };
  await Promise.race([until(() => isReady(topology, stageWorkers.length), 120_000), guard.failure]);
  return topology;
}

async function isReady(topology: Topology, stageWorkers: number): Promise<boolean> {
  const ready = await fetch(`${topology.url}/ready`).catch(() => null);
  if (ready?.ok !== true) return false;
  const nodes = await topology.client().nodes.list();
  return nodes.items.filter((found) => found.alive).length >= stageWorkers;
}

interface Storage {
  env: Record<string, string>;
  blobs: string;
}

function onDisk(blobs: string): Storage {
  return { env: { ASSAY_STORAGE_PATH: blobs }, blobs };
}

async function startS3(home: string, guard: Guard): Promise<Storage> {
  const server = await s3ServerIn(home);
  guard.start(server.service);
  await server.ready();
  const env = {
    ASSAY_STORAGE: 's3',
    ASSAY_S3_ENDPOINT: server.endpoint,
    ASSAY_S3_REGION: server.region,
    ASSAY_S3_BUCKET: bucket,
    ASSAY_S3_ACCESS_KEY_ID: server.credentials.accessKeyId,
    ASSAY_S3_SECRET_ACCESS_KEY: server.credentials.secretAccessKey,
  };
  return { env, blobs: join(server.folder, bucket) };
}

interface DatabaseUrls {
  owner: string;
  app: string;
  temporal: string;
}

/** The roles and databases are made by the very script that docker-compose.yml runs. */
async function startDatabase(home: string, guard: Guard): Promise<DatabaseUrls> {
  const postgres = postgresOn(await preparePostgres(home), await freePort());
  guard.start(postgres.service);
  const admin = new URL(postgres.urls.admin);
  const superuser = {
    PGHOST: admin.hostname,
    PGPORT: admin.port,
    PGPASSWORD: admin.password,
    POSTGRES_USER: 'postgres',
  };
  const passwords = { ASSAY_OWNER_PASSWORD: "o'wner", ASSAY_APP_PASSWORD: 'a"pp', TEMPORAL_PASSWORD: randomPassword() };
  const env = { PATH: path, ...superuser, ...passwords };
  await until(() => answers(env));
  await run(join(root, 'compose', 'postgres-roles.sh'), [], { env });
  const url = (role: string, password: string, database: string) =>
    `postgres://${role}:${encodeURIComponent(password)}@${admin.host}/${database}`;
  return {
    owner: url('assay_owner', passwords.ASSAY_OWNER_PASSWORD, 'assay'),
    app: url('assay_app', passwords.ASSAY_APP_PASSWORD, 'assay'),
    temporal: url('temporal', passwords.TEMPORAL_PASSWORD, 'temporal'),
  };
}

async function answers(env: NodeJS.ProcessEnv): Promise<boolean> {
  const asked = run('psql', ['--username=postgres', '--dbname=postgres', '--command=select 1'], { env });
  return await asked.then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') throw new Error('psql is missing: install postgresql-client.', { cause: error });
      return false;
    },
  );
}

function randomPassword(): string {
  return randomBytes(24).toString('base64url');
}

async function startTemporal(home: string, guard: Guard, { temporal: url }: DatabaseUrls): Promise<string> {
  const [server, tool] = [await installGoProgram(temporalServer), await installGoProgram(temporalSqlTool)];
  const database = new URL(url);
  const directory = join(home, 'temporal');
  await mkdir(directory, { recursive: true });
  const [grpc, http, matching, history, worker, ...membership] = await lowPorts(9);
  const env = {
    PATH: path,
    HOME: directory,
    LOG_LEVEL: 'error',
    DB: 'postgres12',
    DB_PORT: database.port,
    POSTGRES_SEEDS: database.hostname,
    POSTGRES_USER: 'temporal',
    POSTGRES_PWD: database.password,
    NUM_HISTORY_SHARDS: '4',
    BIND_ON_IP: '127.0.0.1',
    FRONTEND_GRPC_PORT: String(grpc),
    FRONTEND_HTTP_PORT: String(http),
    MATCHING_GRPC_PORT: String(matching),
    HISTORY_GRPC_PORT: String(history),
    WORKER_GRPC_PORT: String(worker),
    FRONTEND_MEMBERSHIP_PORT: String(membership[0]),
    MATCHING_MEMBERSHIP_PORT: String(membership[1]),
    HISTORY_MEMBERSHIP_PORT: String(membership[2]),
    WORKER_MEMBERSHIP_PORT: String(membership[3]),
    DYNAMIC_CONFIG_FILE_PATH: join(root, 'compose', 'temporal-settings.yaml'),
  };
  await run(join(root, 'compose', 'temporal-schema.sh'), [], {
    env: { ...env, PATH: `${dirname(tool)}${delimiter}${path}`, SQL_PASSWORD: database.password },
  });
  guard.start({
    name: 'temporal',
    command: [server, '--allow-no-auth', 'start'],
    env,
    directory,
    stopSignal: 'SIGTERM',
    stopSeconds: 20,
    log: join(home, 'logs', 'temporal.log'),
  });
  return `127.0.0.1:${grpc}`;
}

async function migrate(env: NodeJS.ProcessEnv): Promise<void> {
  await until(async () => {
    const done = await run(node, [join(root, 'worker/migrate.ts')], { env }).catch((error: Error) => error);
    if (done instanceof Error && !/UNAVAILABLE|ECONNREFUSED|connect/i.test(done.message)) throw done;
    return !(done instanceof Error);
  }, 120_000);
}

async function startProgram(guard: Guard, home: string, name: string, args: string[], env: NodeJS.ProcessEnv) {
  const directory = join(home, 'run', name);
  await mkdir(directory, { recursive: true });
  guard.start({
    name,
    command: [node, ...args],
    env,
    directory,
    stopSignal: 'SIGTERM',
    stopSeconds: 30,
    log: join(home, 'logs', `${name}.log`),
  });
}

function certificates(): Record<string, string> {
  const names = ['SSL_CERT_FILE', 'PIP_CERT', 'REQUESTS_CA_BUNDLE', 'NODE_EXTRA_CA_CERTS'];
  const given = Object.fromEntries(names.flatMap((name) => (process.env[name] ? [[name, process.env[name]]] : [])));
  return given.SSL_CERT_FILE === undefined ? given : { ...given, ASSAY_EXTRA_CA: given.SSL_CERT_FILE };
}

/** Temporal's services find each other by ports that have to be below 32768. */
async function lowPorts(count: number): Promise<number[]> {
  const ports = new Set<number>();
  while (ports.size < count) {
    const port = 10_000 + Math.floor(Math.random() * 22_000);
    if (await isFree(port)) ports.add(port);
  }
  return [...ports];
}

function launchesIn(directory: string): string[] {
  try {
    return readdirSync(directory).filter((name) => !name.startsWith('.'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

function send(pid: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}
