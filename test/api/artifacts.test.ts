import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Artifact } from '#contract/artifacts.ts';
import type { Metric } from '#contract/metrics.ts';
import { environments } from '#db/schema/environments.ts';
import { runs } from '#db/schema/runs.ts';
import { keepBlob } from '#storage/keep.ts';
import { createTestApi, refusal, type TestApi } from './server.ts';
import { insertArtifact, insertAttempt, insertMetric, insertRun, sha256 } from './fixtures.ts';

let api: TestApi;
let project: { id: string; name: string };
let id = '';
const text = 'The quick brown fox';

beforeAll(async () => {
  api = await createTestApi();
  project = await api.project('files');
  id = await insertRun(api, project.id);
  await insertArtifact(api, id, 'report.html', Buffer.from(text), { mediaType: 'text/html' });
});
afterAll(() => api.close());

const get = (path: string, headers: Record<string, string> = {}) =>
  api.call('GET', `/runs/${id}/artifacts/${path}`, { headers });

test('a file comes with its type, as an attachment that no browser runs', async () => {
  const answer = await get('report.html');
  expect(answer.text).toBe(text);
  expect(answer.headers).toMatchObject({
    'content-type': 'text/html; charset=utf-8',
    'content-length': String(text.length),
    'content-disposition': `attachment; filename="report.html"; filename*=UTF-8''report.html`,
    etag: `"${sha256(text)}"`,
    'accept-ranges': 'bytes',
    'x-content-type-options': 'nosniff',
    'content-security-policy': "sandbox; default-src 'none'",
  });
});

test.each([
  ['bytes=0-2', 206, 'The', 'bytes 0-2/19'],
  ['bytes=4-', 206, 'quick brown fox', 'bytes 4-18/19'],
  ['bytes=-3', 206, 'fox', 'bytes 16-18/19'],
  ['bytes=-99', 206, text, 'bytes 0-18/19'],
  ['bytes=16-99', 206, 'fox', 'bytes 16-18/19'],
  ['bytes=5-2', 200, text, undefined],
  ['bytes=0-1,3-4', 200, text, undefined],
  ['lines=1-2', 200, text, undefined],
])('range %s answers %i', async (range, status, body, contentRange) => {
  const answer = await get('report.html', { range });
  expect([answer.status, answer.text, answer.headers['content-range']]).toEqual([status, body, contentRange]);
});

test('a range outside the file, one for other bytes, and a file that is known already', async () => {
  const outside = await get('report.html', { range: 'bytes=19-' });
  expect(refusal(outside)).toEqual({ status: 416, code: 'range-not-satisfiable' });
  expect(outside.headers['content-range']).toBe('bytes */19');
  expect(outside.headers['content-disposition']).toBeUndefined();
  expect((await get('report.html', { range: 'bytes=0-2', 'if-range': '"other"' })).status).toBe(200);
  expect((await get('report.html', { range: 'bytes=0-2', 'if-range': `"${sha256(text)}"` })).status).toBe(206);
  const known = await get('report.html', { 'if-none-match': `W/"x", "${sha256(text)}"` });
  expect([known.status, known.text]).toEqual([304, '']);
});

test.each([
  ['../../etc/passwd'],
  ['..%2f..%2fetc%2fpasswd'],
  ['%252e%252e%252fetc%252fpasswd'],
  ['..%5c..%5cetc'],
  ['%2Fetc%2Fpasswd'],
  ['file:%2F%2F%2Fetc%2Fpasswd'],
  ['report.html;x'],
  ['report.html%23x'],
  ['report.html%20'],
  ['REPORT.HTML'],
  ['%EF%BC%8E%EF%BC%8E/etc'],
  ['a/'.repeat(1000)],
  ['x'.repeat(4000)],
])('the path %s finds nothing', async (path) => {
  const answer = await get(path);
  expect([400, 404]).toContain(answer.status);
  expect(answer.text).not.toContain('root:');
});

test('a NUL in a path is refused', async () => {
  expect(refusal(await get('a%00b'))).toEqual({ status: 400, code: 'invalid-request' });
});

test.each([
  ['a"b\\c.txt', `filename="c.txt"`],
  ['café ☕.txt', `filename*=UTF-8''caf%C3%A9%20%E2%98%95.txt`],
  ["it's (1)*.txt", `filename*=UTF-8''it%27s%20%281%29%2A.txt`],
  ['a\r\nSet-Cookie: x=1', `filename="a__Set-Cookie_ x_1"`],
  ['dir/../evil.txt', 'filename="evil.txt"'],
])('the name %j becomes a harmless header', async (path, expected) => {
  await insertArtifact(api, id, path, Buffer.from(path));
  const answer = await get(path.split('/').map(encodeURIComponent).join('/'));
  if (path.includes('..')) return expect([200, 404]).toContain(answer.status);
  expect(answer.status).toBe(200);
  expect(answer.headers['content-disposition']).toContain(expected);
  expect(answer.headers['set-cookie']).toBeUndefined();
});

test('a media type that is none is sent as bytes', async () => {
  await insertArtifact(api, id, 'odd.bin', Buffer.from('odd'), { mediaType: 'text/html\r\nx: y' });
  expect((await get('odd.bin')).headers['content-type']).toBe('application/octet-stream');
});

test('files of the attempt that counts are listed, all of them when asked', async () => {
  const run = await insertRun(api, project.id);
  await insertAttempt(api, run, 'train', 2, 'failed');
  await insertArtifact(api, run, 'a.txt', Buffer.from('counts'));
  await insertArtifact(api, run, 'a.txt', Buffer.from('does not'), { fence: 2 });
  const list = async (query: string) =>
    (await api.call<{ items: Artifact[] }>('GET', `/runs/${run}/artifacts${query}`)).body.items.map(
      (item) => item.attempt,
    );
  expect(await list('')).toEqual([1]);
  expect(await list('?all=true')).toEqual([1, 2]);
  expect(await list('?step=evaluate')).toEqual([]);
  expect((await api.call('GET', `/runs/${run}/artifacts/a.txt`)).text).toBe('counts');
  expect((await api.call('GET', `/runs/${run}/artifacts/a.txt?attempt=2`)).text).toBe('does not');
});

test('a blob that lost its bytes is said to be missing', async () => {
  const sha = await insertArtifact(api, id, 'lost.bin', Buffer.from('lost'));
  await api.deps.store.delete(sha);
  expect(refusal(await get('lost.bin'))).toEqual({ status: 409, code: 'blob-missing' });
});

test('manifest, lock and source are downloads of their own, and say when they do not exist yet', async () => {
  const keep = async (value: string) => (await keepBlob(api.db, api.deps.store, Buffer.from(value))).sha256;
  const run = await insertRun(api, project.id);
  for (const part of ['manifest', 'lock', 'source', 'patch']) {
    expect(refusal(await api.call('GET', `/runs/${run}/${part}`))).toEqual({ status: 404, code: 'not-found' });
  }
  await api.db
    .insert(environments)
    .values({ environmentKey: 'key', lockSha256: await keep('numpy==1'), python: '3.11', platform: 'linux' });
  const parts = { manifestSha256: await keep('{"run":1}'), sourceSha256: await keep('tar'), environmentKey: 'key' };
  await api.db.update(runs).set(parts).where(eq(runs.id, run));
  const manifest = await api.call('GET', `/runs/${run}/manifest`);
  expect([manifest.text, manifest.headers['content-type']]).toEqual(['{"run":1}', 'application/json']);
  expect((await api.call('GET', `/runs/${run}/lock`)).text).toBe('numpy==1');
  expect((await api.call('GET', `/runs/${run}/source`)).headers['content-type']).toBe('application/x-tar');
});

test('metrics are numbers, and what JSON can not say is text', async () => {
  const run = await insertRun(api, project.id, {
    metrics: { acc: 0.5, loss: Number.POSITIVE_INFINITY, 'a/b': Number.NaN },
  });
  await insertMetric(api, run, 'acc', 0.1, 9);
  const { body } = await api.call<{ items: Metric[] }>('GET', `/runs/${run}/metrics`);
  expect(body.items.map((metric) => [metric.key, metric.last, metric.step])).toEqual([
    ['a/b', 'NaN', 'train'],
    ['acc', 0.5, 'train'],
    ['loss', 'Infinity', 'train'],
  ]);
  expect(refusal(await api.call('GET', '/runs/files%2F99999/metrics'))).toEqual({ status: 404, code: 'not-found' });
});
