// The servers of the embedded stack: started side by side under one guard, stopped in reverse order.
import type { Config } from '#config/config.ts';
import { ConfigError } from '#config/env.ts';
import type { Guard, GuardEvent } from './guard.ts';
import { lockHome, prepareHome } from './home.ts';
import { isFree, openPorts, type Ports } from './ports.ts';
import { postgresOn, preparePostgres } from './postgres.ts';
import { prepareTemporal, removeUnfinishedDatabase, temporalOn } from './temporal.ts';

export interface Services {
  database: { ownerUrl: string; appUrl: string };
  temporal: { address: string; namespace: string; uiUrl: string | null };
  /** Resolves when the servers answer, which they do not for a moment after one of them died. */
  ready: () => Promise<void>;
  /** How often a server or the guard was started again so far. */
  restarts: () => number;
  /** Process ids of the guard and of what it watches. */
  pids: () => ReadonlyMap<string, number>;
  stop: () => Promise<void>;
  /** Kills instead of waiting, also while `stop` waits. */
  force: () => void;
  /** Rejects with a sentence when a server cannot be kept running; never resolves. */
  failure: Promise<never>;
}

/** What the database and Temporal are to those who use them, and when they can be used. */
type Database = { use: Services['database']; ready: () => Promise<void> };
type Temporal = { use: Services['temporal']; ready: () => Promise<void> };

const always = () => Promise.resolve();

/**
 * Starts what the configuration does not place elsewhere. A server that dies later is started again.
 * @param say receives the few lines that a person should see.
 * @throws with a sentence that says what to do: a second stack, a taken port, a folder that cannot be written.
 */
export async function startServices(config: Config, say: (line: string) => void): Promise<Services> {
  await prepareHome(config.home);
  let restarts = 0;
  const locked = await lockHome({
    home: config.home,
    url: config.api.publicUrl,
    python: config.python ?? 'python3',
    onEvent: (event) => {
      if (event.event === 'exited' || event.event === 'guard-died') restarts += 1;
      report(event, say);
    },
    say,
  });
  const { guard } = locked;
  const stop = async () => {
    await guard.stop();
    locked.release();
  };
  try {
    await refuseTakenPorts(config);
    const ports = openPorts(config.home);
    const [database, temporal] = await Promise.race([
      Promise.all([startDatabase(config, guard, ports, say), startTemporal(config, guard, ports)]),
      guard.failure,
    ]);
    return {
      database: database.use,
      temporal: temporal.use,
      ready: async () => {
        await Promise.race([Promise.all([database.ready(), temporal.ready()]), guard.failure]);
      },
      restarts: () => restarts,
      pids: guard.pids,
      stop,
      force: guard.force,
      failure: guard.failure,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function startDatabase(
  { database, home }: Config,
  guard: Guard,
  ports: Ports,
  say: (line: string) => void,
): Promise<Database> {
  if (database.kind === 'url') return { use: bothRoles(database), ready: always };
  const files = await preparePostgres(home, { say });
  await guard.clear(postgresOn(files, 0).service);
  const { service, urls, ready } = postgresOn(files, await ports.of('postgres'));
  guard.start(service);
  await ready();
  return { use: { ownerUrl: urls.owner, appUrl: urls.app }, ready };
}

/** The stack migrates its database itself. */
function bothRoles({ ownerUrl, appUrl }: { ownerUrl: string | null; appUrl: string }): Database['use'] {
  if (ownerUrl !== null) return { ownerUrl, appUrl };
  throw new ConfigError([
    'ASSAY_DATABASE_URL is set without ASSAY_DATABASE_OWNER_URL: the stack migrates the database as its owner, so give both roles, or neither to use the embedded PostgreSQL.',
  ]);
}

async function startTemporal(config: Config, guard: Guard, ports: Ports): Promise<Temporal> {
  const { temporal, home, api } = config;
  if (temporal.kind === 'address') {
    const { address, namespace, uiUrl } = temporal;
    return { use: { address, namespace, uiUrl }, ready: always };
  }
  const files = await prepareTemporal(home, temporal.program);
  await guard.clear(temporalOn(files, { grpc: 0, http: 0, metrics: 0, ui: null }).service);
  await removeUnfinishedDatabase(files);
  const server = temporalOn(files, {
    grpc: await ports.of('temporal'),
    http: await ports.of('temporalHttp'),
    metrics: await ports.of('temporalMetrics'),
    ui: temporal.uiPort ?? (await ports.of('temporalUi', api.port + 1)),
  });
  guard.start(server.service);
  await server.ready();
  const { address, namespace, uiUrl, ready } = server;
  return { use: { address, namespace, uiUrl }, ready };
}

/** Ports that people know are not swapped silently. */
async function refuseTakenPorts({ api, temporal }: Config): Promise<void> {
  if (!(await isFree(api.port, api.host))) throw taken(api.port, 'ASSAY_PORT');
  const uiPort = temporal.kind === 'embedded' ? temporal.uiPort : null;
  if (uiPort !== null && !(await isFree(uiPort))) throw taken(uiPort, 'ASSAY_TEMPORAL_UI_PORT');
}

function taken(port: number, variable: string): Error {
  return new Error(
    `Port ${port} is in use by another program. Stop that program, or choose another port: ${variable}=${port + 10} npm start`,
  );
}

function report(event: GuardEvent, say: (line: string) => void): void {
  if (event.event === 'exited') say(`${event.name} ended unexpectedly (${exitText(event.code)}); starting it again.`);
  if (event.event === 'guard-died') say('The guard of the servers was killed; starting it and them again.');
}

function exitText(code: number | null): string {
  return code !== null && code < 0 ? `signal ${-code}` : `exit ${code}`;
}
