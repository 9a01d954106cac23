import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Page } from '#api/paging.ts';
import { createTestApi, refusal, type TestApi } from './server.ts';

let api: TestApi;
beforeAll(async () => {
  api = await createTestApi();
});
afterAll(() => api.close());

test('a project is created once and found by name and id', async () => {
  const made = await api.call('POST', '/projects', { body: { name: 'digits' } });
  expect(made.status).toBe(201);
  expect(made.headers.location).toBe('/api/v1/projects/digits');
  expect(made.body).toMatchObject({ name: 'digits', defaultBranch: 'main', remoteUrl: null, runs: 0 });
  expect((await api.call('GET', '/projects/digits')).body).toEqual(made.body);
  expect((await api.call('GET', `/projects/${made.body.id as string}`)).body).toEqual(made.body);
  const again = await api.call('POST', '/projects', { body: { name: 'digits' } });
  expect(refusal(again)).toEqual({ status: 409, code: 'conflict' });
});

test('the same Idempotency-Key gives the same project, another body is refused', async () => {
  const headers = { 'idempotency-key': 'make-pets' };
  const first = await api.call('POST', '/projects', { body: { name: 'pets', defaultBranch: 'trunk' }, headers });
  const second = await api.call('POST', '/projects', { body: '{"defaultBranch":"trunk",  "name":"pets"}', headers });
  expect([first.status, second.status]).toEqual([201, 201]);
  expect(second.body).toEqual(first.body);
  const other = await api.call('POST', '/projects', { body: { name: 'cats' }, headers });
  expect(refusal(other)).toEqual({ status: 409, code: 'idempotency-conflict' });
});

test.each([
  ['file:///etc', 'invalid-remote'],
  ['ext::sh -c id', 'invalid-remote'],
  ['http://example.org/a.git', 'invalid-remote'],
])('the remote %s is refused', async (remoteUrl, code) => {
  const made = await api.call('POST', '/projects', { body: { name: 'remote', remoteUrl } });
  expect(refusal(made)).toEqual({ status: 422, code });
});

test('a default branch that git would read as an option is refused', async () => {
  const made = await api.call('POST', '/projects', { body: { name: 'branch', defaultBranch: '--upload-pack=x' } });
  expect(refusal(made)).toEqual({ status: 422, code: 'invalid-reference' });
});

test('remote and default branch can be changed, the name can not', async () => {
  const { name } = await api.project();
  const remoteUrl = 'https://example.org/team/repo.git';
  const changed = await api.call('PATCH', `/projects/${name}`, { body: { remoteUrl, defaultBranch: 'dev' } });
  expect(changed.body).toMatchObject({ remoteUrl, defaultBranch: 'dev' });
  const renamed = await api.call('PATCH', `/projects/${name}`, { body: { name: 'other' } });
  expect(refusal(renamed)).toEqual({ status: 400, code: 'invalid-request' });
  expect(refusal(await api.call('PATCH', '/projects/none', { body: {} }))).toEqual({ status: 404, code: 'not-found' });
});

test('projects are listed by name, page by page', async () => {
  for (const name of ['zz-a', 'zz-b', 'zz-c']) await api.project(name);
  const names: string[] = [];
  let cursor = '';
  do {
    const page = await api.call<Page<{ name: string }>>('GET', `/projects?limit=2${cursor}`);
    names.push(...page.body.items.map((item) => item.name));
    cursor = page.body.nextCursor === null ? '' : `&cursor=${page.body.nextCursor}`;
  } while (cursor !== '');
  expect(names).toEqual(names.toSorted());
  expect(names).toEqual([...new Set(names)]);
  expect(names).toEqual(expect.arrayContaining(['zz-a', 'zz-b', 'zz-c']));
  expect(refusal(await api.call('GET', '/projects?cursor=%00'))).toMatchObject({ status: 400 });
  expect(refusal(await api.call('GET', '/projects?cursor=bm9uc2Vuc2U'))).toMatchObject({ status: 400 });
});
