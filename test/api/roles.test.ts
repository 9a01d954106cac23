// Every route with every role, and with everything that is not a valid token.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { eq } from 'drizzle-orm';
import { buildApp } from '#api/app.ts';
import { denyByDefault } from '#api/plugins/deny-by-default.ts';
import type { RouteContract } from '#contract/route.ts';
import { routes } from '#contract/routes.ts';
import { roleMay, roles } from '#core/role.ts';
import { createTokenText } from '#db/tokens.ts';
import { tokens } from '#db/schema/tokens.ts';
import Fastify from 'fastify';
import { createTestApi, refusal, type TestApi } from './server.ts';
import { insertArtifact, insertAttempt, insertRun, insertVersion, projectConfig } from './fixtures.ts';

let api: TestApi;
let run = '';
let project: { id: string; name: string };
const byRole = new Map<string, string>();
const everything = Object.entries(routes) as Array<[string, RouteContract]>;
/** Routes that a token opens; a delivery is opened by its signature, and deliveries.test.ts tries those. */
const all = everything.filter(([, route]) => route.permission !== 'signature' && route.permission !== 'public');

beforeAll(async () => {
  api = await createTestApi();
  project = await api.project('own');
  run = await insertRun(api, project.id, { status: 'running' });
  const stage = createTokenText();
  await insertAttempt(api, run, 'evaluate', 1, 'running', stage.hash);
  for (const role of roles) byRole.set(role, role === 'stage' ? stage.token : await api.token({ role }));
});
afterAll(() => api.close());

function pathOf(route: RouteContract, run_ = run): string {
  const values: Record<string, string> = {
    run: run_,
    project: project.name,
    model: 'digits',
    version: '1',
    table: 'rows',
    dataset: 'pets',
    id: run_,
    name: 'HF_TOKEN',
    sha256: '0'.repeat(64),
  };
  return route.path.replace(/:(\w+)/g, (_, name: string) => values[name] ?? 'x').replace('*', 'file.txt');
}

test.each(all)('%s answers each role as the table says', async (_name, route) => {
  for (const role of roles) {
    const answer = await quick(route, byRole.get(role) ?? '');
    if (roleMay(role, route.permission as never)) expect([401, 403], role).not.toContain(answer.status);
    else expect({ role, ...refusal(answer) }).toEqual({ role, status: 403, code: 'forbidden' });
  }
});

/** Enough to pass or fail the door: bodies are empty, so that nothing changes behind it. */
async function quick(route: RouteContract, token: string | null, headers: Record<string, string> = {}) {
  const body = route.body === undefined ? {} : { body: {} };
  const bytes = route.rawBody === undefined ? {} : { bytes: Buffer.alloc(0) };
  if (route.rawAnswer === 'text/event-stream' && token !== null)
    return await api.call('GET', pathOf(route, 'none%2F1'), { token });
  return await api.call(route.method, pathOf(route), { token, headers, ...body, ...bytes });
}

const bad: Array<[string, () => Promise<string | null>]> = [
  ['no token', async () => null],
  ['an empty token', async () => ''],
  ['an unknown token', async () => createTokenText().token],
  ['an expired token', async () => await changedToken({ expiresAt: new Date(Date.now() - 1000) })],
  ['a revoked token', async () => await changedToken({ revokedAt: new Date() })],
  ['the token of a stage that ended', async () => await endedStage('succeeded')],
  ['the token of a superseded attempt', async () => await supersededStage()],
];

test.each(bad)('%s opens no route', async (_title, make) => {
  const token = await make();
  for (const [name, route] of all) {
    const answer = await quick(route, token);
    expect([401, 429], name).toContain(answer.status);
  }
});

async function changedToken(change: Partial<typeof tokens.$inferInsert>): Promise<string> {
  const { token, hash } = createTokenText();
  await api.token({ role: 'platform' });
  const [row] = await api.db.select().from(tokens).limit(1);
  await api.db.insert(tokens).values({ ...row!, id: crypto.randomUUID(), hash, ...change });
  return token;
}

async function endedStage(status: 'succeeded'): Promise<string> {
  const { token, hash } = createTokenText();
  await insertAttempt(api, run, `ended-${status}`, 1, status, hash);
  return token;
}

async function supersededStage(): Promise<string> {
  const { token, hash } = createTokenText();
  await insertAttempt(api, run, 'again', 1, 'running', hash);
  await insertAttempt(api, run, 'again', 2, 'running', createTokenText().hash);
  return token;
}

test('a token in the query, another scheme or two tokens are not looked at', async () => {
  const { platform } = api.tokens;
  const inQuery = await api.call('GET', `/me?access_token=${platform}`, { token: null });
  const basic = await api.call('GET', '/me', { token: null, headers: { authorization: `Basic ${platform}` } });
  const two = await api.call('GET', '/me', { token: null, headers: { authorization: `Bearer ${platform}, Bearer x` } });
  for (const { status } of [inQuery, basic, two]) expect([401, 429]).toContain(status);
});

test('many failures of one address are answered as too many, and a valid token still works', async () => {
  let last = 401;
  for (let i = 0; i < 70 && last === 401; i += 1) last = (await api.call('GET', '/me', { token: 'assay_x' })).status;
  expect(last).toBe(429);
  expect((await api.call('GET', '/me')).status).toBe(200);
  const spoofed = await api.call('GET', '/me', { token: 'assay_x', headers: { 'x-forwarded-for': '10.1.2.3' } });
  expect(spoofed.status).toBe(429);
});

test('what belongs to another project is answered as if it did not exist', async () => {
  const other = await api.project('foreign');
  const { runId } = await insertVersion(api, other.id, {
    config: projectConfig({ models: [{ name: 'foreign-model', path: 'model/' }] }),
  });
  await insertArtifact(api, runId, 'model/a.bin', Buffer.from('a'));
  const token = await api.token({ role: 'platform', projectId: project.id });
  const values: Record<string, string> = {
    run: runId,
    project: 'foreign',
    model: 'foreign-model',
    version: '1',
    name: 'HF_TOKEN',
  };
  const owned = all.filter(([, route]) => /:(?:run|project|model)\b/.test(route.path));
  expect(owned.length).toBeGreaterThan(30);
  const bodies: Record<string, unknown> = {
    negotiateCode: { commits: ['a'.repeat(40)] },
    setSecret: { value: 'x' },
    resolveRun: { action: 'retry' },
    promote: { version: 1 },
    createSchedule: { name: 'nightly', cron: '@daily' },
    backfillSchedule: { from: '2026-01-01T00:00:00Z', to: '2026-01-01T00:00:00Z' },
  };
  const queries: Record<string, string> = {
    sendBundle: `?commit=${'a'.repeat(40)}`,
    listScheduleTimes: '?from=2026-01-01T00:00:00Z&to=2026-01-01T00:00:00Z',
  };
  for (const [name, route] of owned) {
    const path = route.path.replace(/:(\w+)/g, (_, key: string) => values[key] ?? 'x').replace('*', 'model/a.bin');
    const query = queries[name] ?? '';
    const options = {
      ...(route.body === undefined ? {} : { body: bodies[name] ?? {} }),
      ...(route.rawBody === undefined ? {} : { bytes: Buffer.alloc(1) }),
    };
    const foreign = await api.call(route.method, path + query, { token, ...options });
    const unknown = await api.call(
      route.method,
      path.replaceAll(runId, crypto.randomUUID()).replaceAll('foreign', 'nowhere') + query,
      { token, ...options },
    );
    expect({ name, ...refusal(foreign) }).toEqual({ name, status: 404, code: 'not-found' });
    expect({ name, ...refusal(unknown) }).toEqual({ name, status: 404, code: 'not-found' });
  }
  const listed = await api.call<{ items: unknown[] }>('GET', '/runs?limit=500', { token });
  expect(JSON.stringify(listed.body)).not.toContain(runId);
  expect((await api.call<{ items: unknown[] }>('GET', '/projects', { token })).body.items).toHaveLength(1);
  expect((await api.call<{ items: unknown[] }>('GET', '/models', { token })).body.items).toHaveLength(0);
});

test('a token of one project neither creates projects nor issues tokens that reach further', async () => {
  const token = await api.token({ role: 'platform', projectId: project.id });
  expect(refusal(await api.call('POST', '/projects', { token, body: { name: 'more' } }))).toMatchObject({
    status: 403,
  });
  const wide = await api.call('POST', '/tokens', { token, body: { name: 'wide', role: 'ml' } });
  expect(refusal(wide)).toEqual({ status: 403, code: 'forbidden' });
  const [row] = await api.db.select().from(tokens).where(eq(tokens.role, 'observer'));
  expect(refusal(await api.call('DELETE', `/tokens/${row?.id}`, { token }))).toEqual({
    status: 404,
    code: 'not-found',
  });
});

test('a route without a permission keeps the server from starting', async () => {
  const app = Fastify();
  denyByDefault(app);
  app.get('/open', async () => 'x');
  await expect(app.ready()).rejects.toThrow('Routes without a permission: GET /open');
});

test('every route that is served is in the OpenAPI document or public, and the document has no other', async () => {
  const app = await buildApp(api.deps);
  const document = app.swagger() as unknown as {
    openapi: string;
    paths: Record<string, Record<string, unknown>>;
    components: { schemas: Record<string, unknown> };
  };
  expect(document.openapi).toBe('3.1.0');
  const documented = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );
  const contract = everything.map(
    ([, route]) => `${route.method} /api/v1${route.path.replace(/:(\w+)/g, '{$1}').replace('*', '{*}')}`,
  );
  expect(documented.toSorted()).toEqual(contract.toSorted());
  const submit = document.paths['/api/v1/projects/{project}/runs']?.post;
  expect(submit).toMatchObject({
    operationId: 'submitRun',
    parameters: expect.arrayContaining([expect.objectContaining({ name: 'Idempotency-Key', in: 'header' })]),
    requestBody: { content: { 'application/json': { schema: { $ref: '#/components/schemas/SubmitRunInput' } } } },
    responses: { 201: {}, 409: { content: { 'application/problem+json': {} } } },
  });
  expect(document.paths['/api/v1/blobs/{sha256}']?.put).toMatchObject({
    requestBody: { required: true, content: { 'application/octet-stream': {} } },
  });
  const text = JSON.stringify(document);
  const named = new Set([...text.matchAll(/"#\/components\/schemas\/([^"]+)"/g)].map((match) => match[1]));
  expect(Object.keys(document.components.schemas)).toEqual(expect.arrayContaining([...named]));
  await app.close();
});
