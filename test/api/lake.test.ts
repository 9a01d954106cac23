import { createHash } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { RunDatum } from '#contract/artifacts.ts';
import type { DatasetDetail, DatasetVersion } from '#contract/datasets.ts';
import type { AppendResult, LakeTableDetail, Rows, Snapshot } from '#contract/lake.ts';
import { runData } from '#db/schema/run-data.ts';
import { createTestApi, refusal, type TestApi } from './server.ts';
import { insertRun } from './fixtures.ts';

let api: TestApi;
beforeAll(async () => {
  api = await createTestApi();
});
afterAll(() => api.close());

const append = (table: string, text: string, options: { format?: string; headers?: Record<string, string> } = {}) =>
  api.call<AppendResult>('POST', `/lake/tables/${table}/segments?format=${options.format ?? 'csv'}`, {
    bytes: Buffer.from(text),
    headers: options.headers ?? {},
  });

const query = (body: unknown) => api.call<Snapshot>('POST', '/lake/queries', { body });

test('rows are appended, listed, previewed, queried and downloaded', async () => {
  const first = await append('points', 'x,y\n1,2\n3,4\n');
  expect(first.status).toBe(201);
  expect(first.body).toMatchObject({
    table: 'points',
    seq: 1,
    rows: 2,
    created: true,
    repeated: false,
    committedBy: 'ml@example.org',
  });
  const second = await append('points', '{"x":5,"y":6}\n', { format: 'jsonl' });
  expect(second.body).toMatchObject({ seq: 2, rows: 1, created: false });
  const table = await api.call<LakeTableDetail>('GET', '/lake/tables/points');
  expect(table.body).toMatchObject({ name: 'points', rows: 3, segments: 2 });
  expect(table.body.commits.map((commit) => commit.seq)).toEqual([2, 1]);
  const rows = await api.call<Rows>('GET', `/lake/tables/points/preview?limit=2`);
  expect(rows.body.rows.map((row) => `${String(row.x)} ${String(row.y)}`)).toEqual(['1 2', '3 4']);
  const before = await query({ query: 'select * from points order by x', asOf: first.body.committedAt });
  expect(before.body).toMatchObject({ rows: 2, asOf: first.body.committedAt });
  const now = await query({ query: 'select sum(x) as total from points where x > $low', params: { low: 1 } });
  expect(now.body.rows).toBe(1);
  expect((await api.call('GET', `/lake/snapshots/${now.body.id}`)).body).toMatchObject({ id: now.body.id });
  const csv = await api.call('GET', `/lake/snapshots/${before.body.id}/content?format=csv`);
  expect([csv.text, csv.headers['content-type']]).toEqual(['x,y\n1,2\n3,4\n', 'text/csv; charset=utf-8']);
  const parquet = await api.call('GET', `/lake/snapshots/${before.body.id}/content`);
  expect(parquet.headers).toMatchObject({
    etag: `"${before.body.sha256}"`,
    'content-length': String(before.body.sizeBytes),
  });
  await expect.poll(() => readdir(api.deps.facts.temporaryDir)).toEqual([]);
});

test('an append is repeated harmlessly with its key, and other rows under the key are refused', async () => {
  const headers = { 'idempotency-key': 'monday' };
  const [first, again] = [await append('repeat', 'a\n1\n', { headers }), await append('repeat', 'a\n1\n', { headers })];
  expect(again.body).toMatchObject({ repeated: true, seq: 1, committedAt: first.body.committedAt });
  expect(refusal(await append('repeat', 'a\n2\n', { headers }))).toEqual({ status: 409, code: 'idempotency-conflict' });
});

test.each([
  ['select 1; select 2', 'query-refused'],
  ["select * from read_csv('/etc/passwd')", 'query-refused'],
  ['drop table points', 'query-refused'],
  ['select now()', 'query-refused'],
  ['select * from nowhere', 'table-not-found'],
])('the query %s is refused, when run and when only checked', async (text, code) => {
  expect((await query({ query: text })).body).toMatchObject({ code });
  const checked = await api.call('POST', '/lake/queries/check', { body: { query: text } });
  expect(checked.body).toMatchObject(code === 'table-not-found' ? { missingTables: ['nowhere'] } : { code });
});

test('drift, the future and what does not exist are refused', async () => {
  await append('typed', 'x\n1\n');
  expect(refusal(await append('typed', 'x\ntext\n'))).toEqual({ status: 422, code: 'schema-drift' });
  expect(refusal(await append('typed', 'x\n1\n', { format: 'xml' }))).toEqual({ status: 400, code: 'invalid-request' });
  expect(refusal(await append('Not-A-Name', 'x\n1\n'))).toEqual({ status: 400, code: 'invalid-request' });
  const future = await query({ query: 'select * from typed', asOf: '2999-01-01T00:00:00Z' });
  expect(refusal(future)).toEqual({ status: 422, code: 'as-of-in-future' });
  expect(refusal(await api.call('GET', '/lake/tables/nowhere'))).toEqual({ status: 404, code: 'table-not-found' });
  expect(refusal(await api.call('GET', '/lake/tables/nowhere/preview'))).toEqual({
    status: 404,
    code: 'table-not-found',
  });
  const none = crypto.randomUUID();
  expect(refusal(await api.call('GET', `/lake/snapshots/${none}`))).toEqual({ status: 404, code: 'not-found' });
  expect(refusal(await api.call('GET', `/lake/snapshots/${none}/content`))).toEqual({ status: 404, code: 'not-found' });
  const large = await append('typed', `x\n${'1\n'.repeat(api.deps.facts.uploadBytesMax / 2)}`);
  expect(refusal(large)).toEqual({ status: 413, code: 'payload-too-large' });
});

const sha = (text: string) => createHash('sha256').update(text).digest('hex');

test('a dataset is what is missing, the blobs, the version, the files', async () => {
  const [a, b] = ['cat', 'dog'];
  const files = [
    { path: 'images/a.txt', sizeBytes: 3, sha256: sha(a) },
    { path: 'images/b.txt', sizeBytes: 3, sha256: sha(b) },
  ];
  const add = () => api.call<DatasetVersion>('POST', '/datasets/pets/versions', { body: { files } });
  const missing = await add();
  expect(missing.body).toMatchObject({
    code: 'blob-missing',
    status: 409,
    errors: [{ path: sha(a) }, { path: sha(b) }].toSorted((x, y) => (x.path < y.path ? -1 : 1)),
  });
  const put = (text: string, name = sha(text)) => api.call('PUT', `/blobs/${name}`, { bytes: Buffer.from(text) });
  expect((await put(a)).body).toEqual({ sha256: sha(a), sizeBytes: 3 });
  const asked = await api.call('POST', '/blobs/missing', { body: { sha256: files.map((file) => file.sha256) } });
  expect(asked.body).toEqual({ missing: [sha(b)] });
  expect(refusal(await put('something else', sha(b)))).toEqual({ status: 422, code: 'blob-corrupt' });
  await put(b);
  const added = await add();
  expect([added.status, added.body.version, added.body.files]).toEqual([201, 1, 2]);
  expect((await add()).body.version).toBe(1);
  const headers = { 'idempotency-key': 'add-pets' };
  const keyed = (list: unknown) => api.call('POST', '/datasets/pets/versions', { body: { files: list }, headers });
  expect([(await keyed(files)).body.version, (await keyed(files)).body.version]).toEqual([1, 1]);
  expect(refusal(await keyed(files.slice(1)))).toEqual({ status: 409, code: 'idempotency-conflict' });
  const dataset = await api.call<DatasetDetail>('GET', '/datasets/pets');
  expect(dataset.body).toMatchObject({ name: 'pets', latest: { version: 1 }, versions: [{ version: 1 }] });
  expect((await api.call('GET', '/datasets')).body.items).toMatchObject([{ name: 'pets' }]);
  expect((await api.call('GET', '/datasets/pets/versions/1/files')).body.items).toEqual(files);
  const file = await api.call('GET', '/datasets/pets/versions/1/files/images/b.txt');
  expect([file.text, file.headers.etag]).toEqual([b, `"${sha(b)}"`]);
  expect(refusal(await api.call('GET', '/datasets/pets/versions/1/files/..%2fb.txt'))).toEqual({
    status: 404,
    code: 'not-found',
  });
  for (const path of ['/datasets/none', '/datasets/none/versions/1/files', '/datasets/pets/versions/9/files']) {
    expect(refusal(await api.call('GET', path))).toEqual({ status: 404, code: 'dataset-not-found' });
  }
});

test.each([['../x'], ['/x'], ['a//b'], ['a/./b'], ['a\\b'], ['a\0b']])(
  'the dataset path %j is refused',
  async (path) => {
    const body = { files: [{ path, sizeBytes: 0, sha256: sha('') }] };
    expect(refusal(await api.call('POST', '/datasets/bad/versions', { body }))).toEqual({
      status: 400,
      code: 'invalid-request',
    });
  },
);

test('a blob over the cap is refused, however its size is declared', async () => {
  const bytes = Buffer.alloc(api.deps.facts.uploadBytesMax + 1);
  const name = createHash('sha256').update(bytes).digest('hex');
  expect(refusal(await api.call('PUT', `/blobs/${name}`, { bytes }))).toEqual({
    status: 413,
    code: 'payload-too-large',
  });
  expect(await api.deps.store.stat(name)).toBeNull();
});

test('a run shows the data it was given, in the format its stages saw', async () => {
  const project = await api.project();
  const id = await insertRun(api, project.id);
  await append('given', 'n\n1\n2\n');
  const { body: snapshot } = await query({ query: 'select n from given order by n' });
  const row = { runId: id, asOf: snapshot.asOf, digest: snapshot.sha256 };
  await api.db.insert(runData).values({ ...row, name: 'train', to: 'data/train.csv', snapshotId: snapshot.id });
  await api.db
    .insert(runData)
    .values({ ...row, name: 'pets', to: 'data/pets', datasetName: 'pets', datasetVersion: 1 });
  const listed = await api.call<{ items: RunDatum[] }>('GET', `/runs/${id}/data`);
  expect(listed.body.items.map((item) => [item.name, item.kind])).toEqual([
    ['pets', 'dataset'],
    ['train', 'query'],
  ]);
  expect((await api.call('GET', `/runs/${id}/data/train`)).text).toBe('n\n1\n2\n');
  expect((await api.call('GET', `/runs/${id}/data/train?format=jsonl`)).text).toBe('{"n":1}\n{"n":2}\n');
  expect((await api.call('GET', `/runs/${id}/data/pets`)).body).toMatchObject({
    dataset: 'pets',
    version: 1,
    files: [{}, {}],
  });
  expect(refusal(await api.call('GET', `/runs/${id}/data/none`))).toEqual({ status: 404, code: 'not-found' });
});
