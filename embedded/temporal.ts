// The embedded Temporal server: the development server on a file, with the settings that keep it durable and quick.
import { once } from 'node:events';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { Connection } from '@temporalio/client';
import type { Service } from './guard.ts';
import { ensureNamespace } from '#worker/temporal/namespace.ts';
import { findTemporalProgram } from './temporal-program.mjs';
import { untilItWorks } from '#worker/wait.ts';

const host = '127.0.0.1';
export const embeddedNamespace = 'assay';
const readyTimeoutMs = 120_000;

/** Complete after the first successful start; without it the database may be half made and is made again. */
const completeMark = 'complete';

export interface TemporalFiles {
  home: string;
  directory: string;
  program: string;
}

export interface TemporalPorts {
  grpc: number;
  http: number;
  metrics: number;
  /** Null leaves the web UI out. */
  ui: number | null;
}

export interface EmbeddedTemporal {
  service: Service;
  address: string;
  namespace: string;
  uiUrl: string | null;
  /** Resolves when the server answers and the namespace with its search attributes exists. */
  ready: () => Promise<void>;
}

/**
 * Makes the folder for the server's files. A null `program` looks for one.
 * @throws when there is no `temporal` program, with what to do.
 */
export async function prepareTemporal(home: string, configured: string | null): Promise<TemporalFiles> {
  const program = await findTemporalProgram(configured);
  if (program === null) {
    throw new Error('There is no `temporal` program; npm start gets it, or name yours in ASSAY_TEMPORAL_BIN.');
  }
  const directory = join(home, 'temporal');
  await mkdir(directory, { recursive: true, mode: 0o700 });
  return { home, directory, program };
}

/** How the guard runs the server on these ports. `throwAway` gives up durability, for tests. */
export function temporalOn(files: TemporalFiles, ports: TemporalPorts, throwAway = false): EmbeddedTemporal {
  const address = `${host}:${ports.grpc}`;
  return {
    service: {
      name: 'temporal',
      command: [files.program, ...serverArguments(files, ports, throwAway)],
      // Nothing of ours reaches the server: neither secrets nor the settings of somebody's `temporal` client.
      env: { HOME: files.directory, PATH: '/usr/local/bin:/usr/bin:/bin', TZ: 'UTC' },
      directory: files.directory,
      stopSignal: 'SIGTERM',
      stopSeconds: 15,
      log: join(files.home, 'logs', 'temporal.log'),
    },
    address,
    namespace: embeddedNamespace,
    uiUrl: ports.ui === null ? null : `http://${host}:${ports.ui}`,
    ready: async () => {
      await untilItWorks('Temporal', readyTimeoutMs, async () => {
        await listens(ports.grpc);
        await prepare(address);
      });
      await writeFile(join(files.directory, completeMark), '');
    },
  };
}

async function prepare(address: string): Promise<void> {
  const connection = await Connection.connect({ address, connectTimeout: '5s' });
  try {
    await ensureNamespace(connection, embeddedNamespace);
  } finally {
    await connection.close();
  }
}

/** Removes a database whose first start did not finish. Nothing may run on it when this is called. */
export async function removeUnfinishedDatabase({ directory }: TemporalFiles): Promise<void> {
  const entries = await readdir(directory);
  if (entries.includes(completeMark)) return;
  for (const entry of entries.filter((name) => name.startsWith('temporal.db'))) await rm(join(directory, entry));
}

/** Measured: the poll rates and single partitions remove waits of the one-shard server, WAL with FULL survives power loss. */
function serverArguments({ directory }: TemporalFiles, ports: TemporalPorts, throwAway: boolean): string[] {
  const dynamicConfig = {
    'history.transferProcessorMaxPollRPS': 5000,
    'history.timerProcessorMaxPollRPS': 5000,
    'system.enableActivityEagerExecution': true,
    'matching.numTaskqueueReadPartitions': 1,
    'matching.numTaskqueueWritePartitions': 1,
    'matching.enableFairness': true,
  };
  const pragmas = { journal_mode: 'WAL', synchronous: throwAway ? 'OFF' : 'FULL' };
  return [
    ['server', 'start-dev', '--log-level', 'error', '--db-filename', join(directory, 'temporal.db')],
    ['--ip', host, '--port', String(ports.grpc)],
    ['--http-port', String(ports.http), '--metrics-port', String(ports.metrics)],
    ports.ui === null ? ['--headless'] : ['--ui-ip', host, '--ui-port', String(ports.ui)],
    ...Object.entries(dynamicConfig).map(([key, value]) => ['--dynamic-config-value', `${key}=${value}`]),
    ...Object.entries(pragmas).map(([key, value]) => ['--sqlite-pragma', `${key}=${value}`]),
  ].flat();
}

/** Throws where nobody listens. A gRPC channel that finds nobody waits a second before it looks again; this does not. */
async function listens(port: number): Promise<void> {
  const socket = connect({ host, port });
  await once(socket, 'connect');
  socket.destroy();
}
