import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildApp } from '#api/app.ts';
import { createDiskStore } from '#storage/disk.ts';
import { createS3Store } from '#storage/s3.ts';
import { optionsFor } from '#test/storage/s3-stores.ts';
import { createTestBucket, type TestBucket } from '#test/support/s3.ts';
import { tcpProxyTo } from '#test/support/tcp-proxy.ts';
import { insertArtifact, insertRun } from './fixtures.ts';
import { createTestApi, refusal, type TestApi } from './server.ts';

let root: string;
let bucket: TestBucket;
let inS3: TestApi;
let onDisk: TestApi;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'assay-links-'));
  bucket = await createTestBucket();
  inS3 = await createTestApi({ store: await createS3Store(await optionsFor(bucket)) });
  onDisk = await createTestApi({ store: await createDiskStore({ root, durability: 'rename-only' }) });
});
afterAll(async () => {
  for (const api of [inS3, onDisk]) await api?.close();
  await rm(root, { recursive: true, force: true });
});

async function withPage(api: TestApi): Promise<string> {
  const project = await api.project();
  const id = await insertRun(api, project.id);
  await insertArtifact(api, id, 'out/page "1".html', Buffer.from('<script>'), { mediaType: 'text/html' });
  return `/runs/${id}/artifacts/out/${encodeURIComponent('page "1".html')}`;
}

test('who asks for a link is sent to the bytes, which no browser shows', async () => {
  const path = await withPage(inS3);
  const answer = await inS3.call('GET', `${path}?redirect=yes`);
  expect(answer.status).toBe(307);
  expect(answer.headers['cache-control']).toBe('no-store');
  const bytes = await fetch(String(answer.headers.location));
  expect(await bytes.text()).toBe('<script>');
  expect(bytes.headers.get('content-type')).toBe('application/octet-stream');
  expect(bytes.headers.get('content-disposition')).toBe(
    `attachment; filename="page _1_.html"; filename*=UTF-8''page%20%221%22.html`,
  );
});

test('who does not ask gets the bytes, in ranges too', async () => {
  const path = await withPage(inS3);
  expect((await inS3.call('GET', path)).text).toBe('<script>');
  const range = await inS3.call('GET', path, { headers: { range: 'bytes=1-3' } });
  expect([range.status, range.text]).toEqual([206, 'scr']);
});

test('a link is given only to those who may read the file', async () => {
  const path = await withPage(inS3);
  expect((await inS3.call('GET', `${path}?redirect=yes`, { token: null })).status).toBe(401);
  const stranger = await inS3.token({ role: 'ml', projectId: (await inS3.project()).id });
  const answer = await inS3.call('GET', `${path}?redirect=yes`, { token: stranger });
  expect(answer.headers.location).toBeUndefined();
  expect(refusal(answer)).toEqual({ status: 404, code: 'not-found' });
});

test('a store that gives no links sends the bytes', async () => {
  const answer = await onDisk.call('GET', `${await withPage(onDisk)}?redirect=yes`);
  expect([answer.status, answer.text]).toEqual([200, '<script>']);
});

test('a store that does not answer is unavailable, which is not blamed on the database', async () => {
  const path = await withPage(inS3);
  const proxy = await tcpProxyTo(bucket.endpoint);
  const store = await createS3Store({ ...(await optionsFor(bucket)), endpoint: proxy.endpoint });
  const app = await buildApp({ ...inS3.deps, store });
  await proxy.close();
  const headers = { authorization: `Bearer ${inS3.tokens.ml}`, host: 'localhost' };
  const answer = await app.inject({ method: 'GET', url: `/api/v1${path}`, headers });
  await app.close();
  expect(answer.statusCode).toBe(503);
  expect(answer.json()).toMatchObject({
    code: 'unavailable',
    detail: 'The blob store does not answer. Try again in a moment.',
  });
});
