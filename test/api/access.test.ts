// Tokens, secrets, first start, and what a request may be addressed to.
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSecretKey } from 'node:crypto';
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ensureFirstToken } from '#api/first-token.ts';
import type { IssuedToken, Token } from '#contract/tokens.ts';
import type { Page } from '#api/paging.ts';
import { audit } from '#db/schema/audit.ts';
import { secrets } from '#db/schema/secrets.ts';
import { tokens } from '#db/schema/tokens.ts';
import { deleteSecret, openSecret, setSecret } from '#db/secrets.ts';
import { hashToken } from '#db/tokens.ts';
import { createTestApi, refusal, type TestApi } from './server.ts';

let api: TestApi;
beforeAll(async () => {
  api = await createTestApi();
});
afterAll(() => api.close());

const platform = () => ({ token: api.tokens.platform });

test('a token is shown once, stored as a hash, and works until it is revoked', async () => {
  const issued = await api.call<IssuedToken>('POST', '/tokens', { ...platform(), body: { name: 'ci', role: 'ml' } });
  expect(issued.status).toBe(201);
  expect(issued.body.token).toMatch(/^assay_[\w-]{43}$/);
  expect(Date.parse(issued.body.expiresAt ?? '')).toBeGreaterThan(Date.now());
  const [row] = await api.db.select().from(tokens).where(eq(tokens.id, issued.body.id));
  expect(row?.hash).toBe(hashToken(issued.body.token));
  expect(JSON.stringify(row)).not.toContain(issued.body.token);
  const token = issued.body.token;
  expect((await api.call('GET', '/me', { token })).body).toMatchObject({
    owner: 'platform@example.org',
    role: 'ml',
    token: 'ci',
  });
  const listed = await api.call<Page<Token>>('GET', '/tokens', platform());
  expect(listed.text).not.toContain(token);
  expect(listed.body.items[0]).toMatchObject({ name: 'ci', revokedAt: null, lastUsedAt: expect.any(String) });
  expect((await api.call('DELETE', `/tokens/${issued.body.id}`, platform())).status).toBe(204);
  expect((await api.call('GET', '/me', { token })).status).toBe(401);
  const records = await api.db.select().from(audit).where(eq(audit.target, issued.body.id));
  expect(records.map((record) => record.action)).toEqual(['token.issue', 'token.revoke']);
  expect(JSON.stringify(records)).not.toContain(token);
});

test('a repeated issue gives the same token a fresh secret, and the one before stops working', async () => {
  const options = { ...platform(), body: { name: 'again', role: 'ml' }, headers: { 'idempotency-key': 'again' } };
  const [first, second] = [
    await api.call<IssuedToken>('POST', '/tokens', options),
    await api.call<IssuedToken>('POST', '/tokens', options),
  ];
  expect(second.body.id).toBe(first.body.id);
  expect((await api.call('GET', '/me', { token: first.body.token })).status).toBe(401);
  expect((await api.call('GET', '/me', { token: second.body.token })).status).toBe(200);
  const other = await api.call('POST', '/tokens', { ...options, body: { name: 'again', role: 'platform' } });
  expect(refusal(other)).toEqual({ status: 409, code: 'idempotency-conflict' });
});

test('the role of stages is not issued, nor one that does not exist', async () => {
  for (const role of ['stage', 'root']) {
    const issued = await api.call('POST', '/tokens', { ...platform(), body: { name: 'x', role } });
    expect(refusal(issued)).toEqual({ status: 400, code: 'invalid-request' });
  }
  const missing = await api.call('POST', '/tokens', {
    ...platform(),
    body: { name: 'x', role: 'ml', project: 'none' },
  });
  expect(refusal(missing)).toEqual({ status: 404, code: 'not-found' });
  expect(refusal(await api.call('DELETE', `/tokens/${crypto.randomUUID()}`, platform()))).toMatchObject({
    status: 404,
  });
});

test('the first start leaves one token in a file that only its owner reads', async () => {
  const fresh = await createTestApi();
  await fresh.db.delete(tokens);
  const home = await mkdtemp(join(tmpdir(), 'assay-first-'));
  const file = join(home, 'deep', 'token');
  const token = await ensureFirstToken(fresh.db, file);
  expect(await readFile(file, 'utf8')).toBe(`${token}\n`);
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  expect((await fresh.call('GET', '/me', { token })).body).toMatchObject({
    role: 'platform',
    project: null,
    expiresAt: null,
  });
  expect(await ensureFirstToken(fresh.db, file)).toBeNull();
  await rm(file);
  const another = await ensureFirstToken(fresh.db, file);
  expect(another).not.toBe(token);
  expect((await readFile(file, 'utf8')).trim()).toBe(another);
  await fresh.close();
  await rm(home, { recursive: true });
});

test('a secret is set, versioned, listed and deleted, and its value is never answered', async () => {
  const { name, id } = await api.project();
  const path = `/projects/${name}/secrets`;
  const value = 'hf_very-secret-value';
  const first = await api.call('PUT', `${path}/HF_TOKEN`, { body: { value } });
  const second = await api.call('PUT', `${path}/HF_TOKEN`, { body: { value: `${value}2` } });
  expect([first.body.version, second.body.version]).toEqual([1, 2]);
  const listed = await api.call('GET', path);
  expect(listed.body.items).toMatchObject([{ name: 'HF_TOKEN', version: 2, createdBy: 'ml@example.org' }]);
  expect(await openSecret(api.db, api.deps.secretsKey, { projectId: id, name: 'HF_TOKEN' })).toEqual({
    version: 2,
    value: `${value}2`,
  });
  const stored = await api.db.select().from(secrets).where(eq(secrets.projectId, id));
  const records = await api.db.select().from(audit);
  for (const text of [
    first.text,
    second.text,
    listed.text,
    JSON.stringify(records),
    ...stored.map((row) => row.sealed!.toString('latin1')),
  ]) {
    expect(text).not.toContain(value);
  }
  expect((await api.call('DELETE', `${path}/HF_TOKEN`)).status).toBe(204);
  expect((await api.call('GET', path)).body.items).toEqual([]);
  const erased = await api.db.select().from(secrets).where(eq(secrets.projectId, id));
  expect(erased.map((row) => row.sealed)).toEqual([null, null]);
  await expect(openSecret(api.db, api.deps.secretsKey, { projectId: id, name: 'HF_TOKEN' })).rejects.toThrow(
    'nobody has set',
  );
  expect(refusal(await api.call('DELETE', `${path}/HF_TOKEN`))).toEqual({ status: 404, code: 'not-found' });
  expect((await api.call('PUT', `${path}/HF_TOKEN`, { body: { value: 'new' } })).body.version).toBe(3);
});

test('a refused secret is not echoed', async () => {
  const { name } = await api.project();
  const value = 'secret\0value';
  const answer = await api.call('PUT', `/projects/${name}/secrets/A`, { body: { value } });
  expect(refusal(answer)).toEqual({ status: 400, code: 'invalid-request' });
  expect(answer.text).not.toContain('secret\\u0000');
  expect(
    refusal(await api.call('PUT', `/projects/${name}/secrets/not-a-name`, { body: { value: 'x' } })),
  ).toMatchObject({ status: 400 });
});

test('a sealed value moved to another name, version or key can not be opened', async () => {
  const { id } = await api.project();
  const key = api.deps.secretsKey;
  await setSecret(api.db, key, { projectId: id, name: 'A', value: 'a', by: 'x' });
  const [row] = await api.db.select().from(secrets).where(eq(secrets.projectId, id));
  await api.db.insert(secrets).values({ ...row!, name: 'B' });
  await expect(openSecret(api.db, key, { projectId: id, name: 'B' })).rejects.toThrow();
  await api.db.insert(secrets).values({ ...row!, version: 2 });
  await expect(openSecret(api.db, key, { projectId: id, name: 'A' })).rejects.toThrow();
  await deleteSecret(api.db, { projectId: id, name: 'B', by: 'x' });
  const other = createSecretKey(Buffer.alloc(32, 8));
  await setSecret(api.db, key, { projectId: id, name: 'C', value: 'c', by: 'x' });
  await expect(openSecret(api.db, other, { projectId: id, name: 'C' })).rejects.toThrow();
});

test.each([['evil.example'], ['127.0.0.1.evil.example'], ['localhost.evil.example:7410'], ['169.254.169.254']])(
  'on loopback a request for the host "%s" is refused, on public routes too',
  async (host) => {
    for (const path of ['/me', '/api/openapi.json']) {
      const answer = await api.call('GET', path, { headers: { host } });
      expect(refusal(answer)).toEqual({ status: 421, code: 'host-refused' });
    }
  },
);

test.each([['localhost'], ['LOCALHOST:7410'], ['127.0.0.1:80'], ['[::1]:7410']])(
  'the host %s is answered',
  async (host) => {
    expect((await api.call('GET', '/me', { headers: { host } })).status).toBe(200);
  },
);

test('pages of other origins may not call, and there is no CORS', async () => {
  for (const origin of ['https://evil.example', 'null', 'http://localhost:9999', 'garbage']) {
    const answer = await api.call('GET', '/me', { headers: { origin, host: 'localhost:7410' } });
    expect(refusal(answer)).toEqual({ status: 421, code: 'host-refused' });
    expect(answer.headers['access-control-allow-origin']).toBeUndefined();
  }
  const own = await api.call('GET', '/me', { headers: { origin: 'http://localhost:7410', host: 'localhost:7410' } });
  expect(own.status).toBe(200);
  expect(own.headers['access-control-allow-origin']).toBeUndefined();
});
