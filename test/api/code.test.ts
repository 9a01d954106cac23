// Code from a checkout: negotiated, sent as a bundle, read at submit.
import { readdir, readFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Problem } from '#contract/problems.ts';
import type { RunSummary } from '#contract/runs.ts';
import { nodes } from '#db/schema/nodes.ts';
import { setSecret } from '#db/secrets.ts';
import { createRepository, removeTemporary, type TestRepository } from '#test/git/repositories.ts';
import { createTestApi, refusal, type TestApi } from './server.ts';

let api: TestApi;
let repository: TestRepository;
let project: { id: string; name: string };

beforeAll(async () => {
  api = await createTestApi();
  project = await api.project('code');
  repository = await createRepository();
});
afterAll(async () => {
  await api.close();
  await removeTemporary();
});

async function commit(files: Record<string, string>): Promise<string> {
  for (const [path, text] of Object.entries(files)) await repository.write(path, text);
  return repository.commit(`change ${Object.keys(files).join(' ')}`);
}

async function send(sha: string) {
  const bundle = await readFile(await repository.bundle({ tips: [sha] }));
  return await api.call('POST', `/projects/code/code/bundles?commit=${sha}`, { bytes: bundle });
}

const submit = (body: unknown) =>
  api.call<Omit<RunSummary, keyof Problem> & Problem>('POST', '/projects/code/runs', { body });

test('a commit is missing, is sent, is there, and its project file is read when it is submitted', async () => {
  const sha = await commit({
    'assay.yaml': 'project: code\nstages:\n  train: { command: python train.py }\n',
    'train.py': 'print(1)\n',
  });
  const ask = async () => (await api.call('POST', '/projects/code/code/negotiate', { body: { commits: [sha] } })).body;
  expect(await ask()).toEqual({ have: [] });
  expect(refusal(await submit({ commit: sha }))).toEqual({ status: 422, code: 'commit-not-found' });
  const sent = await send(sha);
  expect(sent.status).toBe(201);
  expect(sent.body).toEqual({ commit: sha, tree: expect.stringMatching(/^[0-9a-f]{40}$/) });
  expect(await ask()).toEqual({ have: [sha] });
  const run = await submit({ commit: sha, ref: 'main' });
  expect(run.body).toMatchObject({ status: 'queued', commit: sha, ref: 'main', branch: 'main' });
  expect((await send(sha)).status).toBe(201);
});

test('a wrong project file is refused at submit, with every finding at its line', async () => {
  const sha = await commit({ 'assay.yaml': 'project: code\nstagse: {}\nseed: x\n' });
  await send(sha);
  const answer = await submit({ commit: sha });
  expect(refusal(answer)).toEqual({ status: 422, code: 'invalid-project-file' });
  expect(answer.body.errors.map((error) => [error.file, error.line])).toEqual(
    expect.arrayContaining([
      ['assay.yaml', 2],
      ['assay.yaml', 3],
    ]),
  );
});

test('an unknown parameter and a missing secret are refused at submit by name', async () => {
  const file =
    'project: code\nparams: { file: input.json }\nsecrets: [HF_TOKEN]\nstages:\n  train: { command: python train.py }\n';
  const sha = await commit({ 'assay.yaml': file, 'input.json': '{"lr": 0.1}' });
  await send(sha);
  expect((await submit({ commit: sha })).body).toMatchObject({
    code: 'secret-missing',
    detail: expect.stringContaining('HF_TOKEN'),
  });
  await setSecret(api.db, api.deps.secretsKey, { projectId: project.id, name: 'HF_TOKEN', value: 'x', by: 'x' });
  expect((await submit({ commit: sha, params: { lrr: 1 } })).body).toMatchObject({
    code: 'invalid-parameters',
    detail: expect.stringContaining('lrr'),
  });
  expect((await submit({ commit: sha, params: { lr: 0.5 } })).status).toBe(201);
});

test('a stage that fits no pool is refused while pools are known, and waits while none is', async () => {
  const file = 'project: code\nstages:\n  train: { command: python train.py, resources: { accelerators: "H100:8" } }\n';
  const sha = await commit({ 'assay.yaml': file });
  await send(sha);
  expect((await submit({ commit: sha })).status).toBe(201);
  const shape = { cpus: 2, memoryGib: 4, accelerator: null, devices: 0 };
  await api.db
    .insert(nodes)
    .values({ id: 'n', pool: 'cpu', host: 'h', slots: 2, shape, leaseExpiresAt: new Date(Date.now() + 60_000) });
  expect(refusal(await submit({ commit: sha }))).toEqual({ status: 422, code: 'pool-missing' });
  const listed = await api.call<{ items: unknown[] }>('GET', '/nodes', { token: api.tokens.platform });
  expect(listed.body.items).toMatchObject([{ id: 'n', pool: 'cpu', slotsUsed: 0, alive: true }]);
});

test('a project without an entry point is refused, unless a command is given', async () => {
  repository.git(['rm', '-q', '-f', 'assay.yaml', 'train.py', 'input.json']);
  const sha = await commit({ 'notes.txt': 'nothing to run' });
  await send(sha);
  expect(refusal(await submit({ commit: sha }))).toEqual({ status: 422, code: 'no-entry-point' });
  expect((await submit({ commit: sha, command: ['python', '-c', 'print(1)'] })).status).toBe(201);
});

test('a bundle that is none, is too large, or lacks the commit is refused and leaves nothing behind', async () => {
  const sha = 'b'.repeat(40);
  const path = `/projects/code/code/bundles?commit=${sha}`;
  expect(refusal(await api.call('POST', path, { bytes: Buffer.from('# not a bundle') }))).toMatchObject({
    status: 422,
  });
  const large = await api.call('POST', path, { bytes: Buffer.alloc(api.deps.facts.uploadBytesMax + 1) });
  expect(refusal(large)).toEqual({ status: 413, code: 'payload-too-large' });
  const other = await commit({ 'x.txt': 'x' });
  const bundle = await readFile(await repository.bundle({ tips: [other] }));
  const wrong = await api.call('POST', path, { bytes: bundle });
  expect([wrong.status, wrong.body.code]).toEqual([422, expect.stringMatching(/commit-not-found|source-refused/)]);
  expect(await readdir(api.deps.facts.temporaryDir)).toEqual([]);
  const asJson = await api.call('POST', path, { body: {} });
  expect(refusal(asJson)).toEqual({ status: 415, code: 'unsupported-media-type' });
});

test.each([
  ['negotiate', { commits: ['--help'] }],
  ['negotiate', { commits: [] }],
])('%s with %j is refused', async (route, body) => {
  expect(refusal(await api.call('POST', `/projects/code/code/${route}`, { body }))).toEqual({
    status: 400,
    code: 'invalid-request',
  });
});
