// vitest's global set-up: offers the servers that tests need, starting each at most once and only when a test asks.
// They run under the same guard as the embedded stack, so that a killed test run leaves nothing behind.
import { chmod, mkdir, mkdtemp } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { type Guard, startGuard } from '#embedded/guard.ts';
import { freePort } from '#embedded/ports.ts';
import { postgresOn, preparePostgres } from '#embedded/postgres.ts';
import { prepareTemporal, temporalOn } from '#embedded/temporal.ts';
import { s3ServerIn } from './s3-server.ts';

declare module 'vitest' {
  interface ProvidedContext {
    servicesUrl: string;
  }
}

export async function setup(project: TestProject): Promise<() => Promise<void>> {
  let guard: Promise<Guard> | undefined;
  let home: Promise<string> | undefined;
  const started = new Map<string, Promise<unknown>>();
  const starters: Record<string, (guard: Guard, home: string) => Promise<unknown>> = {
    '/postgres': startPostgres,
    '/s3': startS3,
    '/temporal': startTemporal,
  };

  const start = async (name: string) => {
    guard ??= startGuard({ python: process.env.ASSAY_PYTHON ?? 'python3' });
    home ??= guard.then(createHome);
    return starters[name]?.(await guard, await home);
  };

  const server = createServer((request, response) => {
    const name = request.url ?? '';
    if (!started.has(name)) started.set(name, start(name));
    started.get(name)?.then(
      (answer) => response.end(JSON.stringify(answer)),
      (error: unknown) => response.writeHead(500).end(String(error)),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  project.provide('servicesUrl', `http://127.0.0.1:${(server.address() as AddressInfo).port}`);

  return async () => {
    server.closeAllConnections();
    server.close();
    await (await guard)?.stop();
  };
}

async function createHome(guard: Guard): Promise<string> {
  const home = await mkdtemp(join(tmpdir(), 'assay-test-'));
  guard.removeAtEnd(home);
  await chmod(home, 0o711);
  await mkdir(join(home, 'logs'));
  return home;
}

async function startPostgres(guard: Guard, home: string) {
  const postgres = postgresOn(await preparePostgres(home, { throwAway: true }), await freePort(), true);
  guard.start(postgres.service);
  await Promise.race([postgres.ready(), guard.failure]);
  return postgres.urls;
}

async function startS3(guard: Guard, home: string) {
  const server = await s3ServerIn(home);
  guard.start(server.service);
  await Promise.race([server.ready(), guard.failure]);
  const { endpoint, region, credentials, folder } = server;
  return { endpoint, region, credentials, folder };
}

async function startTemporal(guard: Guard, home: string) {
  const files = await prepareTemporal(home, process.env.ASSAY_TEMPORAL_BIN ?? null);
  const ports = { grpc: await freePort(), http: await freePort(), metrics: await freePort(), ui: null };
  const temporal = temporalOn(files, ports, true);
  guard.start(temporal.service);
  await Promise.race([temporal.ready(), guard.failure]);
  return { address: temporal.address, namespace: temporal.namespace };
}
