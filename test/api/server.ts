// The API on a real database, a real blob store and real mirrors, without a port.
import { createSecretKey } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FastifyInstance, InjectOptions } from 'fastify';
import { buildApp } from '#api/app.ts';
import type { ApiDeps } from '#api/deps.ts';
import type { Problem } from '#contract/problems.ts';
import { apiPrefix } from '#contract/routes.ts';
import type { Role } from '#core/role.ts';
import { connect, type Connection, type Database } from '#db/connect.ts';
import { newId } from '#db/ids.ts';
import { projects } from '#db/schema/projects.ts';
import { issueToken } from '#db/tokens.ts';
import { createMirrors } from '#git/mirror.ts';
import { createLakeEngine } from '#lake/engine/engine.ts';
import { createDiskStore } from '#storage/disk.ts';
import { createTestDatabase } from '#test/support/postgres.ts';

export interface Answer<T = Record<string, unknown>> {
  status: number;
  headers: Record<string, string | string[] | number | undefined>;
  body: T;
  text: string;
}

export interface TestApi {
  app: FastifyInstance;
  deps: ApiDeps;
  connection: Connection;
  db: Database;
  appUrl: string;
  /** Tokens that reach every project, by role. */
  tokens: Record<Exclude<Role, 'stage'>, string>;
  token: (wanted: {
    role: Exclude<Role, 'stage'>;
    projectId?: string | null;
    expiresInDays?: number;
  }) => Promise<string>;
  project: (name?: string) => Promise<{ id: string; name: string }>;
  /** Below /api/v1, as the role ml unless another token is given. */
  call: <T = Record<string, unknown>>(
    method: InjectOptions['method'],
    path: string,
    options?: { token?: string | null; body?: unknown; headers?: Record<string, string>; bytes?: Buffer },
  ) => Promise<Answer<T>>;
  close: () => Promise<void>;
}

export async function createTestApi(overrides: Partial<ApiDeps> = {}): Promise<TestApi> {
  const database = await createTestDatabase();
  const connection = connect(database.appUrl);
  const { db } = connection;
  const home = await mkdtemp(join(tmpdir(), 'assay-api-'));
  const deps = await createDeps(connection, home, overrides);
  const app = await buildApp(deps);
  const token: TestApi['token'] = async ({ role, projectId = null, expiresInDays = null }) =>
    (
      await issueToken(
        db,
        { name: role, owner: `${role}@example.org`, role, projectId, expiresInDays, issuedBy: 'test' },
        null,
      )
    ).token;
  const tokens = {
    ml: await token({ role: 'ml' }),
    platform: await token({ role: 'platform' }),
    observer: await token({ role: 'observer' }),
    business: await token({ role: 'business' }),
  };
  return {
    app,
    deps,
    connection,
    db,
    appUrl: database.appUrl,
    tokens,
    token,
    async project(name = `p-${newId().slice(-12)}`) {
      const row = { id: newId(), name, createdBy: 'test' };
      await db.insert(projects).values(row);
      return row;
    },
    async call(method, path, options = {}) {
      return await inject(app, method, path, { token: tokens.ml, ...options });
    },
    async close() {
      await app.close();
      await deps.lakeEngine.close();
      await connection.close();
      await database.drop();
      await rm(home, { recursive: true, force: true });
    },
  };
}

async function createDeps(connection: Connection, home: string, overrides: Partial<ApiDeps>): Promise<ApiDeps> {
  const limits = { sizeBytesMax: 50 * 1024 * 1024, filesMax: 10_000, timeoutMs: 30_000 };
  return {
    connection,
    store: await createDiskStore({ root: join(home, 'blobs'), durability: 'rename-only' }),
    mirrors: createMirrors({ rootDir: join(home, 'mirrors'), limits, allowPrivateRemotes: false }),
    temporal: () => null,
    secretsKey: createSecretKey(Buffer.alloc(32, 7)),
    lakeEngine: createLakeEngine({ cacheDir: join(home, 'lake'), threads: 1, memoryMib: 512, timeoutMs: 30_000 }),
    facts: {
      publicUrl: 'http://localhost:7410',
      isLoopback: true,
      offer: { kind: 'process' },
      temporalUi: { url: 'http://localhost:8233', namespace: 'assay' },
      temporaryDir: join(home, 'tmp'),
      cacheDir: join(home, 'cache'),
      uploadBytesMax: 1024 * 1024,
    },
    ...overrides,
  };
}

async function inject<T>(
  app: FastifyInstance,
  method: InjectOptions['method'],
  path: string,
  options: { token?: string | null; body?: unknown; headers?: Record<string, string>; bytes?: Buffer },
): Promise<Answer<T>> {
  const response = await app.inject({
    method: method ?? 'GET',
    url: path.startsWith('/api') ? path : apiPrefix + path,
    headers: {
      ...(options.token === null ? {} : { authorization: `Bearer ${options.token}` }),
      ...(options.bytes === undefined ? {} : { 'content-type': 'application/octet-stream' }),
      ...(options.body === undefined ? {} : { 'content-type': 'application/json' }),
      ...options.headers,
    },
    ...(options.bytes === undefined ? {} : { payload: options.bytes }),
    ...(options.body === undefined
      ? {}
      : { payload: typeof options.body === 'string' ? options.body : JSON.stringify(options.body) }),
  });
  const isJson = /[/+]json(?:;|$)/.test(String(response.headers['content-type']));
  const body = (isJson && response.payload !== '' ? JSON.parse(response.payload) : {}) as T;
  return { status: response.statusCode, headers: response.headers, body, text: response.payload };
}

/** What a refusal says, short enough to compare. */
export function refusal(answer: Answer<unknown>): { status: number; code: string } {
  return { status: answer.status, code: (answer.body as Problem).code };
}
