// Starts the API: configuration and dependencies in, a listening server out.
import { join } from 'node:path';
import { Client, Connection as TemporalConnection } from '@temporalio/client';
import type { FastifyInstance } from 'fastify';
import type { Config } from '#config/config.ts';
import { buildApp } from './app.ts';
import type { ApiDeps, ApiFacts } from './deps.ts';

export interface ApiParts extends Omit<ApiDeps, 'facts' | 'temporal'> {
  /** An address, not a connection: the API starts and takes submits while Temporal is away. */
  temporal: { address: string; namespace: string; uiUrl: string | null };
}

export interface RunningApi {
  app: FastifyInstance;
  /** Where it listens, for example http://127.0.0.1:7410. */
  url: string;
  /** Ends event streams, lets requests finish, closes the port. */
  close: () => Promise<void>;
}

const uploadBytesMax = 50 * 1024 ** 3;
const loopbackHosts = new Set(['127.0.0.1', '::1', 'localhost']);

/** @throws the system's error (EADDRINUSE, EACCES) when the port can not be taken. */
export async function startApi(config: Pick<Config, 'api' | 'home' | 'runner'>, parts: ApiParts): Promise<RunningApi> {
  const { temporal, ...deps } = parts;
  const connection = TemporalConnection.lazy({ address: temporal.address, connectTimeout: '2s' });
  const client = new Client({ connection, namespace: temporal.namespace });
  const app = await buildApp({ ...deps, temporal: () => client, facts: factsOf(config, temporal) });
  const close = async () => {
    await app.close();
    await connection.close();
  };
  try {
    const url = await app.listen({ host: config.api.host, port: config.api.port });
    return { app, url, close };
  } catch (error) {
    await close();
    throw error;
  }
}

function factsOf(config: Pick<Config, 'api' | 'home' | 'runner'>, temporal: ApiParts['temporal']): ApiFacts {
  return {
    publicUrl: config.api.publicUrl,
    isLoopback: loopbackHosts.has(config.api.host),
    temporalUi: temporal.uiUrl === null ? null : { url: temporal.uiUrl, namespace: temporal.namespace },
    offer: config.runner,
    temporaryDir: join(config.home, 'tmp'),
    cacheDir: join(config.home, 'cache'),
    uploadBytesMax,
  };
}
