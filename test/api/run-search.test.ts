import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Problem } from '#contract/problems.ts';
import type { RunSummary } from '#contract/runs.ts';
import type { Page } from '#api/paging.ts';
import { createTestApi, refusal, type TestApi } from './server.ts';
import { insertRun } from './fixtures.ts';

let api: TestApi;
let project: { id: string; name: string };
const names = new Map<string, string>();

beforeAll(async () => {
  api = await createTestApi();
  project = await api.project('search');
  const add = async (name: string, wish: Parameters<typeof insertRun>[2], at: number) => {
    const submittedAt = new Date(Date.UTC(2026, 0, 1, 0, 0, at));
    names.set(await insertRun(api, project.id, { ...wish, values: { name, submittedAt, ...wish?.values } }), name);
  };
  await add(
    'a',
    {
      metrics: { acc: 0.91, 'val/loss': 0.3 },
      values: { params: { lr: '0.1', model: { depth: 4 } }, tags: ['nightly'] },
    },
    1,
  );
  await add(
    'b',
    { metrics: { acc: 0.95 }, values: { params: { lr: 0.1 }, tags: ['nightly', 'x'], owner: "o'neil" } },
    2,
  );
  await add(
    'c',
    { metrics: { acc: Number.NaN }, status: 'failed', values: { overrides: { 'model.depth': 8 }, experiment: 'deep' } },
    3,
  );
  await add('d', { status: 'running', values: { startedAt: new Date('2026-01-01T00:00:00Z') } }, 4);
});
afterAll(() => api.close());

const search = async (query: Record<string, string>) => {
  const answer = await api.call<Page<RunSummary>>('GET', `/runs?${new URLSearchParams(query).toString()}`);
  return answer.status === 200 ? answer.body.items.map((run) => names.get(run.id)).join('') : answer;
};

test.each([
  ['metrics.acc > 0.9', 'ba'],
  ["metrics.acc > 0.9 and params.lr = '0.1'", 'ba'],
  ['params.lr = 0.1', 'b'],
  ['params.model.depth >= 4', 'ca'],
  ['params.`model.depth` = 8', 'c'],
  ['metrics.`val/loss` < 0.5', 'a'],
  ['metrics.acc is null', 'dc'],
  ["attributes.status = 'failed'", 'c'],
  ["status != 'failed' AND status in ('succeeded', 'running')", 'dba'],
  ["name like '_' and name not in ('a','b')", 'dc'],
  ["attributes.experiment ilike 'DEE%'", 'c'],
  ["tag = 'nightly' and tag != 'x'", 'a'],
  ["owner = 'o''neil'", 'b'],
  ["submittedAt > '2026-01-01T00:00:02Z'", 'dc'],
  ['attributes.start_time is null', ''],
  ['startedAt is not null', 'd'],
  ['durationMs > 1000', 'd'],
  ['  ', 'dcba'],
])('filter %s finds %s', async (filter, expected) => {
  const found = await search({ filter });
  if (filter.includes('start_time')) expect(refusal(found as never)).toEqual({ status: 400, code: 'invalid-request' });
  else expect(found).toBe(expected);
});

test('parameters of the query narrow the search', async () => {
  expect(await search({ project: 'search', status: 'failed,running' })).toBe('dc');
  expect(await search({ tag: 'x' })).toBe('b');
  expect(await search({ owner: "o'neil" })).toBe('b');
  expect(await search({ experiment: 'deep' })).toBe('c');
  expect(refusal((await search({ status: 'done' })) as never)).toEqual({ status: 400, code: 'invalid-request' });
  expect(refusal((await search({ project: 'none' })) as never)).toEqual({ status: 404, code: 'not-found' });
});

test.each([
  ['name asc', 'abcd'],
  ['submittedAt desc', 'dcba'],
  ['metrics.acc desc', 'badc'],
  ['metrics.acc asc', 'abcd'],
  ['params.lr asc', 'abcd'],
  ['startedAt desc', 'dcba'],
  ['number', 'abcd'],
])('sort %s orders %s, page by page and all at once', async (sort, expected) => {
  expect(await search({ sort })).toBe(expected);
  let cursor: string | null = null;
  let found = '';
  do {
    const query: Record<string, string> = { sort, limit: '1', ...(cursor === null ? {} : { cursor }) };
    const page: { body: Page<RunSummary> } = await api.call('GET', `/runs?${new URLSearchParams(query).toString()}`);
    found += page.body.items.map((run) => names.get(run.id)).join('');
    cursor = page.body.nextCursor;
  } while (cursor !== null);
  expect(found).toBe(expected);
});

test.each([
  ['metrics.acc >', 14, 'a number'],
  ["status = 'a' or 1=1", 14, '`and`'],
  ["status = 'x'; drop table runs", 13, '`and`'],
  ["'; drop table runs --", 1, 'attributes.NAME'],
  ['nonsense = 1', 1, 'there is no attribute'],
  ["number = 'x'", 1, 'a number'],
  ["metrics.acc like 'x'", 1, 'texts only'],
  ["submittedAt > 'soon'", 1, 'an instant'],
  ["submittedAt > '0000-01-01'", 1, 'an instant'],
  ["submittedAt > '2026-02-30'", 1, 'an instant'],
  ["asOf = '2026-01-01T00:00:00+23:59'", 1, 'an instant'],
  ["tag > 'a'", 1, 'tag can be compared'],
  ['(status)', 1, 'attributes.NAME'],
  ['params.', 8, 'a name'],
  ['status in ()', 12, 'a number'],
  ["status = 'done'", 1, 'expected one of queued, '],
  ["gateResult in ('passed', 'maybe')", 1, "never 'maybe'; expected one of "],
])('filter %s is refused at character %i', async (filter, position, expected) => {
  const answer = await search({ filter });
  const problem = (answer as unknown as { body: Problem }).body;
  expect(problem).toMatchObject({ status: 400, code: 'invalid-request' });
  expect(problem.detail).toContain(`character ${position}:`);
  expect(problem.detail).toContain(expected);
});

test.each([['status; select 1'], ['1'], ['tag'], ['nothing desc'], ['status desc, name'], ['(select 1)']])(
  'sort %s is refused',
  async (sort) => {
    expect(refusal((await search({ sort })) as never)).toEqual({ status: 400, code: 'invalid-request' });
  },
);

test('hostile names and values are only ever compared', async () => {
  const hostile = ["' or '1'='1", '"; drop table runs; --', '$1', '%', '\\', '\u202e', '\u{1F600}', 'null', '{{7*7}}'];
  for (const text of hostile) {
    const quoted = text.replaceAll("'", "''");
    expect(await search({ filter: `params.lr = '${quoted}'` })).toBe('');
    if (!text.includes('`')) expect(await search({ filter: `metrics.\`${text}\` > 0` })).toBe('');
  }
  expect(await search({})).toBe('dcba');
});

test('a cursor of another search is refused', async () => {
  const page = await api.call<Page<RunSummary>>('GET', '/runs?limit=1&sort=name');
  const answer = await api.call('GET', `/runs?limit=1&sort=number&cursor=${page.body.nextCursor}`);
  expect(refusal(answer)).toEqual({ status: 400, code: 'invalid-request' });
  const forged = Buffer.from(JSON.stringify(['submittedAt desc', "x' or 1=1", 'y'])).toString('base64url');
  expect(refusal(await api.call('GET', `/runs?cursor=${forged}`))).toEqual({ status: 400, code: 'invalid-request' });
});

test('an unknown or repeated parameter of the query is refused', async () => {
  expect(refusal(await api.call('GET', '/runs?fitler=x'))).toEqual({ status: 400, code: 'invalid-request' });
  expect(refusal(await api.call('GET', '/runs?limit=1&limit=2'))).toEqual({ status: 400, code: 'invalid-request' });
  expect(refusal(await api.call('GET', '/runs?limit=1e309'))).toEqual({ status: 400, code: 'invalid-request' });
});
