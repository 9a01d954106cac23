// The HTTP API over the parts of test workers, with a token of the role ml.
import { join } from 'node:path';
import type { FastifyInstance } from 'fastify';
import { buildApp } from '#api/app.ts';
import type { ApiDeps } from '#api/deps.ts';
import { issueToken } from '#db/tokens.ts';
import { createLogger } from '#worker/logger.ts';
import type { TestWorkers } from './workers.ts';

export async function buildWorkersApi(
  workers: TestWorkers,
  { owner, temporal }: { owner: string; temporal: ApiDeps['temporal'] },
): Promise<{ app: FastifyInstance; token: string }> {
  const { db, connection, store, mirrors, lake, secretsKey, home } = workers;
  const app = await buildApp({
    log: createLogger(process.env.ASSAY_TEST_LOG ?? 'silent'),
    connection,
    store,
    mirrors,
    secretsKey,
    lakeEngine: lake.engine,
    temporal,
    facts: {
      publicUrl: 'http://localhost:7410',
      isLoopback: true,
      offer: { kind: 'process' },
      temporalUi: null,
      temporaryDir: join(home, 'tmp'),
      cacheDir: join(home, 'cache'),
      uploadBytesMax: 1024 * 1024,
    },
  });
  const grant = { role: 'ml' as const, projectId: null, expiresInDays: null, issuedBy: 'test' };
  const { token } = await issueToken(db, { ...grant, name: 'ml', owner }, null);
  return { app, token };
}
