// What a request may look like, and what every refusal looks like.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { problem, type Problem } from '#contract/problems.ts';
import { connect } from '#db/connect.ts';
import { buildApp } from '#api/app.ts';
import { createTestApi, refusal, type TestApi } from './server.ts';

let api: TestApi;
let name = '';
beforeAll(async () => {
  api = await createTestApi();
  ({ name } = await api.project());
});
afterAll(() => api.close());

const submit = (body: string | undefined, headers: Record<string, string>) =>
  api.call('POST', `/projects/${name}/runs`, { body, headers });

test('a refusal is a problem document that says what, where and what to do', async () => {
  const answer = await api.call<Problem>('POST', `/projects/${name}/runs`, {
    body: { seed: -1, tags: 'x', nonsense: 1 },
  });
  expect(answer.headers['content-type']).toBe('application/problem+json; charset=utf-8');
  expect(problem.parse(answer.body)).toMatchObject({ type: 'urn:assay:problem:invalid-request', status: 400 });
  expect(answer.body.errors.map((error) => error.path).toSorted()).toEqual(['body', 'body.seed', 'body.tags']);
  const unknown = await api.call<Problem>('GET', '/nothing');
  expect(unknown.body).toMatchObject({
    status: 404,
    code: 'not-found',
    detail: expect.stringContaining('openapi.json'),
  });
});

test.each([
  ['DELETE', '/nodes', 'GET, HEAD'],
  ['PUT', '/projects/digits%2Fx/runs', 'POST'],
  ['PUT', '/runs/digits%2F1', 'GET, HEAD, PATCH'],
  ['POST', '/runs/1/artifacts', 'GET, HEAD'],
])('%s %s, where there is something else, says what there is: %s', async (method, path, allow) => {
  const answer = await api.call<Problem>(method as 'PUT', path);
  expect(refusal(answer)).toEqual({ status: 405, code: 'method-not-allowed' });
  expect(answer.headers.allow).toBe(allow);
  expect(answer.body.detail).toContain(allow);
});

test.each([
  ['application/json', 201],
  ['application/json; charset=utf-8', 201],
  ['APPLICATION/JSON', 201],
  ['text/plain', 415],
  ['application/x-www-form-urlencoded', 415],
  ['application/octet-stream', 415],
  ['application/jsonx', 415],
  ['multipart/form-data; boundary=x', 415],
  ['', 415],
])('the content type %j answers %i', async (type, status) => {
  expect((await submit('{}', { 'content-type': type })).status).toBe(status);
});

test.each([
  ['application/json\t; x'],
  [' application/json'],
  ['application/json\ta'],
  ['application/json;'],
  ['application/json, text/plain'],
])('however the content type %j is read, the body is checked', async (type) => {
  const answer = await submit('{"status":"succeeded"}', { 'content-type': type });
  expect([400, 415]).toContain(answer.status);
});

test.each([
  ['{"__proto__":{"status":"failed"}}'],
  ['{"constructor":{"prototype":{"x":1}}}'],
  ['{"params":{"__proto__":{"x":1}}}'],
  ['{"a":'],
  [''],
  ['null'],
  ['[]'],
  ['"text"'],
  ['{"seed":1e309}'],
  ['{"params":{"a":1e309}}'],
  ['{"params":{"a":"\\ud800"}}'],
  ['{"params":{"\\u0000":1}}'],
  ['{"seed":"1"}'],
  ['{"tags":{"length":1}}'],
  ['{"params":{"a":"é","e\\u0301":1,"\\u00e9":2}}'],
])('the body %s is refused and changes nothing', async (body) => {
  const answer = await submit(body, { 'idempotency-key': `k${body.length}` });
  expect(refusal(answer)).toMatchObject({ status: 400 });
  expect(({} as Record<string, unknown>).status).toBeUndefined();
});

test('deep nesting, many keys and large bodies are refused quickly', async () => {
  const deep = `{"params":{"a":${'['.repeat(20_000)}${']'.repeat(20_000)}}}`;
  expect(refusal(await submit(deep, {}))).toEqual({ status: 400, code: 'invalid-request' });
  const wide = JSON.stringify({ params: Object.fromEntries(Array.from({ length: 100_000 }, (_, i) => [`k${i}`, i])) });
  expect(refusal(await submit(wide, {}))).toEqual({ status: 400, code: 'invalid-request' });
  const large = await api.call('POST', '/projects', { body: { name: 'x'.repeat(2_000_000) } });
  expect(refusal(large)).toEqual({ status: 413, code: 'payload-too-large' });
});

test('texts of every kind are stored and given back as they were', async () => {
  const texts = [
    "Robert'); drop table runs;--",
    '<script>alert(1)</script>',
    '${7*7}',
    '\u202Egnp.exe',
    '💩',
    '\t\n',
    '﷽',
    '00012',
    'nil',
  ];
  for (const text of texts) {
    const made = await submit(JSON.stringify({ name: text, note: text, tags: [text], params: { [text]: text } }), {});
    expect(made.status).toBe(201);
    const read = await api.call('GET', `/runs/${made.body.id as string}`);
    expect(read.body).toMatchObject({ name: text, note: text, tags: [text], overrides: { [text]: text } });
  }
});

test.each([['TRACE'], ['PUT'], ['DELETE'], ['PATCH']])(
  'the method %s is not taken where others are',
  async (method) => {
    const answer = await api.app.inject({
      method: method as 'PUT',
      url: '/api/v1/projects',
      headers: { host: 'localhost' },
    });
    expect(answer.statusCode).toBe(405);
  },
);

test('a database that is away is 503, with the words of no driver, and health still answers', async () => {
  const connection = connect('postgres://nobody@127.0.0.1:1/none');
  const app = await buildApp({ ...api.deps, connection });
  const answer = await app.inject({
    url: '/api/v1/me',
    headers: { authorization: `Bearer ${api.tokens.ml}`, host: 'localhost' },
  });
  expect(answer.json()).toMatchObject({ status: 503, code: 'unavailable' });
  expect(answer.headers['retry-after']).toBe('2');
  expect(answer.payload).not.toMatch(/ECONN|127\.0\.0\.1:1|nobody/);
  expect((await app.inject({ url: '/health' })).json()).toEqual({ status: 'alive' });
  const ready = await app.inject({ url: '/ready' });
  expect(ready.statusCode).toBe(503);
  expect(ready.json()).toMatchObject({
    status: 'unavailable',
    parts: { postgres: { state: 'unavailable' }, storage: { state: 'ready' } },
  });
  expect(ready.payload).not.toMatch(/ECONN|nobody/);
  await app.close();
  await connection.close();
});

test('readiness without Temporal is degraded, because submits are still taken', async () => {
  const ready = await api.app.inject({ url: '/ready' });
  expect(ready.statusCode).toBe(200);
  expect(ready.json()).toMatchObject({ status: 'degraded', parts: { temporal: { state: 'unavailable' } } });
});

test('a fault inside says nothing of itself but the request id', async () => {
  const store = { ...api.deps.store, get: async () => Promise.reject(new Error('password=hunter2 at /etc/secret')) };
  const app = await buildApp({ ...api.deps, store });
  const { insertArtifact, insertRun } = await import('./fixtures.ts');
  const project = await api.project();
  const id = await insertRun(api, project.id);
  await insertArtifact(api, id, 'a', Buffer.from('a'));
  const answer = await app.inject({
    url: `/api/v1/runs/${id}/artifacts/a`,
    headers: { authorization: `Bearer ${api.tokens.ml}` },
  });
  expect(answer.json()).toMatchObject({
    status: 500,
    code: 'internal-error',
    requestId: expect.stringMatching(/^[0-9a-f-]{36}$/),
  });
  expect(answer.payload).not.toContain('hunter2');
  await app.close();
});

test('every answer carries the headers that keep browsers harmless', async () => {
  for (const path of ['/me', '/nothing', '/api/openapi.json']) {
    const { headers } = await api.call('GET', path);
    expect(headers).toMatchObject({
      'x-content-type-options': 'nosniff',
      'content-security-policy': "default-src 'none';frame-ancestors 'none'",
      'x-frame-options': 'SAMEORIGIN',
      'referrer-policy': 'no-referrer',
    });
  }
});

test('the reference page comes from this server alone, with a nonce of its own', async () => {
  const page = async () => await api.call('GET', '/api/reference/', { token: null });
  const [one, two] = [await page(), await page()];
  expect(one.status).toBe(200);
  const policy = String(one.headers['content-security-policy']);
  const nonce = /'nonce-([^']+)'/.exec(policy)?.[1] ?? '';
  expect(policy).toContain("default-src 'none'");
  expect(policy).toContain("connect-src 'self'");
  expect(one.text).toContain(`nonce="${nonce}"`);
  expect(one.text).not.toMatch(/<script(?![^>]*nonce=)/);
  expect(one.text).not.toMatch(/(?:src|href)="https?:/);
  expect(two.text).not.toContain(nonce);
  const source = /src="([^"]+\.js)"/.exec(one.text)?.[1] ?? '';
  const script = await api.call('GET', new URL(source, 'http://localhost/api/reference/').pathname, { token: null });
  expect(script.status).toBe(200);
  expect((await api.call('GET', '/api/reference', { token: null })).status).toBe(301);
});

test('the JSON Schema of assay.yaml is served to anybody, for editors', async () => {
  const response = await api.app.inject({ method: 'GET', url: '/api/assay.schema.json' });
  expect(response.statusCode).toBe(200);
  expect(response.headers['content-type']).toContain('application/schema+json');
  expect(response.json()).toMatchObject({ properties: { stages: expect.anything() }, additionalProperties: false });
});
