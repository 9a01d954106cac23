import { eq, sql } from 'drizzle-orm';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Model, ModelVersion, Promotion } from '#contract/models.ts';
import type { Page } from '#api/paging.ts';
import { blobs } from '#db/schema/blobs.ts';
import { aliases, models, pins, promotions } from '#db/schema/models.ts';
import { createTestApi, refusal, type TestApi } from './server.ts';
import { insertArtifact, insertMetric, insertRun, insertVersion, projectConfig, type RunWish } from './fixtures.ts';

let api: TestApi;
let project: { id: string; name: string };
let count = 0;

beforeAll(async () => {
  api = await createTestApi();
  project = await api.project('shop');
});
afterAll(() => api.close());

async function newModel(wish: RunWish = {}, gate: string[] = []) {
  const name = `model-${(count += 1)}`;
  const config = projectConfig({ models: [{ name, path: 'model/' }], gate });
  const add = (more: RunWish = {}) => insertVersion(api, project.id, { config, ...wish, ...more });
  return { name, add, first: await add() };
}

const promote = (model: string, body: unknown, headers: Record<string, string> = {}) =>
  api.call<Promotion>('POST', `/models/${model}/promote`, { body, headers });

test('a promoted version is the champion, recorded and pinned', async () => {
  const { name, first } = await newModel();
  const sha256 = await insertArtifact(api, first.runId, 'model/weights.bin', Buffer.from(`weights of ${name}`));
  expect(refusal(await api.call('GET', `/models/${name}/champion`))).toEqual({ status: 404, code: 'not-found' });
  const promoted = await promote(name, { version: 1, reason: 'best so far', expectedChampion: null });
  expect(promoted.status).toBe(201);
  expect(promoted.body).toMatchObject({ version: 1, previousVersion: null, alias: 'production', by: 'ml@example.org' });
  expect(promoted.body.evidence).toMatchObject({ result: 'passed' });
  const champion = await api.call<ModelVersion>('GET', `/models/${name}/champion`);
  expect(champion.body).toMatchObject({ version: 1, run: first.runId, aliases: ['production'] });
  const model = await api.call<Model>('GET', `/models/${name}`);
  expect(model.body).toMatchObject({ latestVersion: 1, aliases: { production: 1 } });
  const pinned = await api.db.select().from(pins).where(eq(pins.sha256, sha256));
  expect(pinned).toMatchObject([{ version: 1, what: 'artifact model/weights.bin' }]);
  await expect(api.db.delete(blobs).where(eq(blobs.sha256, sha256))).rejects.toThrow();
});

test('a champion that moved is not replaced by someone who saw another one', async () => {
  const { name, add } = await newModel();
  await add();
  expect((await promote(name, { version: 1 })).status).toBe(201);
  expect(refusal(await promote(name, { version: 2, expectedChampion: null }))).toEqual({
    status: 409,
    code: 'champion-moved',
  });
  expect((await promote(name, { version: 2, expectedChampion: 1 })).status).toBe(201);
});

test('fifty promotions at once leave one champion, and the log replays to it', async () => {
  const { name, add } = await newModel();
  for (let i = 0; i < 4; i += 1) await add();
  const answers = await Promise.all(
    Array.from({ length: 50 }, (_, i) =>
      promote(name, { version: (i % 5) + 1, ...(i < 25 ? { expectedChampion: null } : {}) }),
    ),
  );
  const [model] = await api.db.select().from(models).where(eq(models.name, name));
  const log = await api.db.select().from(promotions).where(eq(promotions.modelId, model!.id)).orderBy(promotions.id);
  expect(log).toHaveLength(answers.filter((answer) => answer.status === 201).length);
  expect(answers.slice(0, 25).filter((answer) => answer.status === 201).length).toBeLessThanOrEqual(1);
  let champion: number | null = null;
  for (const entry of log) {
    expect(entry.previousVersion).toBe(champion);
    champion = entry.version;
  }
  const [alias] = await api.db.select().from(aliases).where(eq(aliases.modelId, model!.id));
  expect(alias?.version).toBe(champion);
  expect(log.map((entry) => entry.at.getTime())).toEqual(
    log.map((entry) => entry.at.getTime()).toSorted((a, b) => a - b),
  );
});

test('the same key is one promotion', async () => {
  const { name } = await newModel();
  const headers = { 'idempotency-key': `promote ${name}`.replaceAll(' ', '-') };
  const [first, second] = [await promote(name, { version: 1 }, headers), await promote(name, { version: 1 }, headers)];
  expect(second.body).toEqual(first.body);
  expect(refusal(await promote(name, { version: 1, reason: 'other' }, headers))).toEqual({
    status: 409,
    code: 'idempotency-conflict',
  });
  const page = await api.call<Page<Promotion>>('GET', `/models/${name}/promotions`);
  expect(page.body.items).toHaveLength(1);
});

test('without a gate a reason is needed, and uncommitted changes are never promoted', async () => {
  const { name } = await newModel({ gateResult: 'none' });
  expect(refusal(await promote(name, { version: 1 }))).toEqual({ status: 409, code: 'not-promotable' });
  expect((await promote(name, { version: 1, reason: 'checked by hand' })).status).toBe(201);
  const dirty = await newModel({ dirty: true });
  expect(refusal(await promote(dirty.name, { version: 1, reason: 'please' }))).toEqual({
    status: 409,
    code: 'not-promotable',
  });
});

test('the gate is evaluated again against the champion of this moment', async () => {
  const { name, add, first } = await newModel({}, ['acc >= champion']);
  await insertMetric(api, first.runId, 'acc', 0.9);
  const worse = await add();
  await insertMetric(api, worse.runId, 'acc', 0.8);
  const better = await add();
  await insertMetric(api, better.runId, 'acc', 0.95);
  expect((await promote(name, { version: 1 })).status).toBe(201);
  expect(refusal(await promote(name, { version: worse.version }))).toEqual({ status: 409, code: 'gate-failed' });
  const promoted = await promote(name, { version: better.version });
  expect(promoted.status).toBe(201);
  expect(promoted.body.evidence).toMatchObject({ result: 'passed', champion: { version: 1 } });
});

test('a run whose gate failed makes no version', async () => {
  await expect(insertVersion(api, project.id, { gateResult: 'failed' })).rejects.toThrow('gate failed');
});

test('a blob that is about to be collected keeps a promotion from happening', async () => {
  const { name, first } = await newModel();
  const sha256 = await insertArtifact(api, first.runId, 'model/gone.bin', Buffer.from(`gone ${name}`));
  await api.db.update(blobs).set({ state: 'deleting' }).where(eq(blobs.sha256, sha256));
  expect(refusal(await promote(name, { version: 1 }))).toEqual({ status: 409, code: 'not-promotable' });
  const count_ = await api.db.execute(
    sql`select count(*)::int n from promotions p join models m on m.id = p.model_id where m.name = ${name}`,
  );
  expect(count_.rows[0]).toEqual({ n: 0 });
});

test('what does not exist is not promoted', async () => {
  const { name } = await newModel();
  expect(refusal(await promote('no-model', { version: 1 }))).toEqual({ status: 404, code: 'not-found' });
  expect(refusal(await promote(name, { version: 9 }))).toEqual({ status: 404, code: 'not-found' });
  expect(refusal(await promote(name, { version: 1, promoted: true }))).toEqual({
    status: 400,
    code: 'invalid-request',
  });
  expect(refusal(await api.call('GET', `/models/${name}/versions/9`))).toEqual({ status: 404, code: 'not-found' });
});

test('versions and their files are listed and downloaded, relative to the model', async () => {
  const { name, add } = await newModel();
  const { runId, version } = await add();
  await insertArtifact(api, runId, 'model/config/a.json', Buffer.from('{}'), { mediaType: 'application/json' });
  await insertArtifact(api, runId, 'model-card.md', Buffer.from('# not the model'));
  const listed = await api.call<Page<ModelVersion>>('GET', `/models/${name}/versions?limit=1`);
  expect(listed.body.items.map((item) => item.version)).toEqual([version]);
  const next = await api.call<Page<ModelVersion>>('GET', `/models/${name}/versions?cursor=${listed.body.nextCursor}`);
  expect(next.body.items.map((item) => item.version)).toEqual([1]);
  const files = await api.call<{ items: Array<{ path: string }> }>('GET', `/models/${name}/versions/${version}/files`);
  expect(files.body.items.map((file) => file.path)).toEqual(['config/a.json', 'weights']);
  const file = await api.call('GET', `/models/${name}/versions/${version}/files/config/a.json`);
  expect(file.text).toBe('{}');
  const outside = await api.call('GET', `/models/${name}/versions/${version}/files/model-card.md`);
  expect(refusal(outside)).toEqual({ status: 404, code: 'not-found' });
});

test('models are listed by name, per project', async () => {
  await newModel();
  const page = await api.call<Page<Model>>('GET', `/models?project=${project.name}&limit=500`);
  const names = page.body.items.map((item) => item.name);
  expect(names.length).toBeGreaterThan(0);
  expect(names).toEqual(names.toSorted());
  expect(refusal(await api.call('GET', '/models?project=none'))).toEqual({ status: 404, code: 'not-found' });
});

test('a model name of another project is refused', async () => {
  const { name } = await newModel();
  const other = await api.project();
  await insertRun(api, other.id);
  const config = projectConfig({ models: [{ name, path: 'model/' }] });
  await expect(insertVersion(api, other.id, { config })).rejects.toThrow('belongs to another project');
});
