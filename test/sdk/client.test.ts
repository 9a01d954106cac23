// The client against a real server on a real port.
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startApi } from '#api/start.ts';
import type { RunningApi } from '#api/start.ts';
import { ApiError, UnreachableError } from '#sdk/api-error.ts';
import { createClient, everyPage, type Client } from '#sdk/client.ts';
import { insertArtifact, insertRun } from '#test/api/fixtures.ts';
import { createTestApi, type TestApi } from '#test/api/server.ts';

let base: TestApi;
let running: RunningApi;
let client: Client;

beforeAll(async () => {
  base = await createTestApi();
  running = await start(0);
  client = createClient({ url: running.url, token: base.tokens.platform });
});
afterAll(async () => {
  await running.close();
  await base.close();
});

function start(port: number): Promise<RunningApi> {
  const { facts, temporal: _temporal, ...parts } = base.deps;
  const api = { host: '127.0.0.1', port, publicUrl: facts.publicUrl };
  const temporal = { address: '127.0.0.1:1', namespace: 'assay', uiUrl: null };
  return startApi({ api, home: facts.temporaryDir, runner: { kind: 'process' } }, { ...parts, temporal });
}

test('a project is made, a run submitted, found page by page and cancelled', async () => {
  const project = await client.projects.create({ name: 'sdk' }, { idempotencyKey: 'make-sdk' });
  expect(await client.projects.create({ name: 'sdk' }, { idempotencyKey: 'make-sdk' })).toEqual(project);
  for (let seed = 0; seed < 5; seed += 1) await client.runs.submit('sdk', { ref: 'main', seed });
  const found: number[] = [];
  for await (const run of everyPage((cursor) => client.runs.list({ project: 'sdk', limit: 2, sort: 'number', cursor })))
    found.push(run.number);
  expect(found).toEqual([1, 2, 3, 4, 5]);
  expect((await client.runs.cancel('sdk/3')).status).toBe('cancelled');
  expect((await client.runs.get('sdk/3')).label).toBe('sdk/3');
});

test('a schedule is taken, listed and triggered while Temporal can not be reached', async () => {
  await client.projects.create({ name: 'recurring' });
  const made = await client.schedules.create('recurring', { name: 'nightly', cron: '@daily', ref: 'a'.repeat(40) });
  expect(made).toMatchObject({ words: 'At 00:00 (UTC)', next: null, trouble: null });
  expect((await client.schedules.list('recurring')).items).toEqual([made]);
  expect((await client.schedules.trigger('recurring', 'nightly')).trigger).toMatchObject({ schedule: 'nightly' });
  const range = { from: '2026-01-01T00:00:00Z', to: '2026-01-02T00:00:00Z' };
  await expect(client.schedules.backfill('recurring', 'nightly', range)).rejects.toMatchObject({ code: 'unavailable' });
  await client.schedules.delete('recurring', 'nightly');
});

test('a refusal is an ApiError with the whole problem', async () => {
  const error = await client.runs.get('sdk/99').catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(ApiError);
  expect(error).toMatchObject({ status: 404, code: 'not-found', message: expect.stringContaining('sdk/99') });
  const cancelled = client.runs.resolve('sdk/1', 'retry');
  await expect(cancelled).rejects.toMatchObject({ code: 'conflict' });
});

test('an answer of something else on the way is an ApiError too', async () => {
  const proxy = createServer((_request, response) =>
    response.writeHead(502, { 'content-type': 'text/html' }).end('<h1>Bad'),
  );
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  await expect(createClient({ url, token: 'x' }).me()).rejects.toMatchObject({ status: 502, code: 'internal-error' });
  proxy.close();
});

test('a server that is not there is an UnreachableError that names it', async () => {
  const url = 'http://127.0.0.1:1';
  const error = await createClient({ url, token: 'x' })
    .me()
    .catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(UnreachableError);
  expect(error).toMatchObject({ url, message: expect.stringContaining(url) });
  await expect(createClient({ url, token: 'x' }).ready()).rejects.toBeInstanceOf(UnreachableError);
});

test('readiness comes without a token and also when it is bad', async () => {
  expect(await createClient({ url: running.url, token: '' }).ready()).toMatchObject({
    status: 'degraded',
    parts: { temporal: { state: 'unavailable' } },
  });
});

test('bytes are sent from buffers, files and streams, and come back from any byte', async () => {
  const text = 'x'.repeat(100_000);
  const sha256 = createHash('sha256').update(text).digest('hex');
  const stream = Readable.toWeb(
    Readable.from([Buffer.from(text)], { objectMode: false }),
  ) as ReadableStream<Uint8Array>;
  for (const bytes of [new TextEncoder().encode(text), new Blob([text]), stream]) {
    expect(await client.blobs.put(sha256, bytes)).toEqual({ sha256, sizeBytes: text.length });
  }
  expect(await client.blobs.missing([sha256])).toEqual({ missing: [] });
  const project = await base.project();
  const run = await insertRun(base, project.id);
  await insertArtifact(base, run, 'dir with space/ä#?.txt', Buffer.from('hello'));
  const response = await client.artifacts.open(run, 'dir with space/ä#?.txt', {}, { fromByte: 3 });
  expect([response.status, await response.text()]).toEqual([206, 'lo']);
});

test('a port that is taken is the system’s error, and nothing is left open', async () => {
  const taken = Number(new URL(running.url).port);
  await expect(start(taken)).rejects.toMatchObject({ code: 'EADDRINUSE' });
});

test('a server that stops answers what it began', async () => {
  const other = await start(0);
  let begun = 0;
  other.app.server.on('request', () => void (begun += 1));
  const late = createClient({ url: other.url, token: base.tokens.platform });
  const holder = await base.connection.pool.connect();
  await holder.query("begin; select 1 from projects where name = 'sdk' for update");
  const answers = Promise.all(Array.from({ length: 10 }, () => late.runs.submit('sdk', { ref: 'main' })));
  await expect.poll(() => begun).toBe(10);
  const closed = other.close();
  await holder.query('commit');
  holder.release();
  expect(new Set((await answers).map((run) => run.id)).size).toBe(10);
  await closed;
});
