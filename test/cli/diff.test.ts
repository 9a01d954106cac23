import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RunDiff } from '#contract/diff.ts';
import type { ProjectConfig } from '#core/project.ts';
import { keepEnvironment } from '#db/environments.ts';

import { runData } from '#db/schema/run-data.ts';
import { runs } from '#db/schema/runs.ts';
import { attempts, steps } from '#db/schema/steps.ts';
import { appendSegment } from '#lake/append.ts';
import { materialise } from '#lake/query.ts';
import { keepBlob } from '#storage/keep.ts';
import { insertArtifact, insertRun, insertVersion, type RunWish, sha256 } from '#test/api/fixtures.ts';
import { projectConfig, stage } from '#test/api/project-config.ts';
import { refusal } from '#test/api/server.ts';
import { type CliServer, commitAll, git, startCliServer } from './server.ts';

let server: CliServer;
let project: { id: string; name: string };
/** Two commits of one project: the second changes training in one line, adds a file and its README. */
let commits: { first: string; second: string };
let trees: { first: string; second: string };

const declare = { accuracy: { goal: 'max' as const, from: null, use: 'last' as const, tolerance: null } };
const config: ProjectConfig = projectConfig({
  stages: [stage()],
  metrics: { files: [], declare },
  gate: ['accuracy >= 0.9'],
});

beforeAll(async () => {
  server = await startCliServer();
  const dir = await server.checkout('tiny', 'digits');
  await writeFile(join(dir, 'assay.yaml'), 'project: digits\nstages: { train: { command: python train.py } }\n');
  const first = await commitAll(dir, 'Fit a line');
  await server.assay(['run'], { cwd: dir });
  await writeFile(join(dir, 'train.py'), `${await git(dir, 'show', 'HEAD:train.py')}\nprint("more")\n`);
  await writeFile(join(dir, 'new "name".py'), 'x = 1\n');
  await writeFile(join(dir, 'README.md'), 'Other words.\n');
  const second = await commitAll(dir, 'Say more');
  await server.assay(['run'], { cwd: dir });
  commits = { first, second };
  trees = {
    first: await git(dir, 'rev-parse', `${first}^{tree}`),
    second: await git(dir, 'rev-parse', `${second}^{tree}`),
  };
  const [row] = await server.api.db.select().from(runs).limit(1);
  await keepEnvironmentOf('numpy==1.26.4', 'e1');
  project = { id: row?.projectId ?? '', name: 'digits' };
});
afterAll(() => server.close());

interface Wish extends RunWish {
  code?: 'first' | 'second';
}

async function insert({ code = 'first', ...wish }: Wish = {}): Promise<{ id: string; label: string }> {
  const values = {
    commit: commits[code],
    tree: trees[code],
    params: { lr: 0.1, epochs: 3 },
    seed: 0,
    environmentKey: 'e1',
    ...wish.values,
  };
  const id = await insertRun(server.api, project.id, { config, ...wish, values });
  const [row] = await server.api.db.select().from(runs).where(eq(runs.id, id));
  return { id, label: `digits/${row?.number}` };
}

async function diff(before: { id: string }, after: { id: string }, query = ''): Promise<RunDiff> {
  const answer = await server.api.call<RunDiff>('GET', `/runs/${after.id}/diff?with=${before.id}${query}`);
  expect(answer.status, answer.text).toBe(200);
  return answer.body;
}

describe('assay diff', () => {
  it('leads with why two runs differ and what came of it', async () => {
    const before = await insert({ metrics: { accuracy: 0.91, fit_seconds: 2 } });
    const after = await insert({
      code: 'second',
      metrics: { accuracy: 0.94, fit_seconds: 3, extra: 1 },
      values: { params: { lr: 0.05, epochs: 3 } },
    });
    await insertArtifact(server.api, before.id, 'model/a', Buffer.from('a'));
    await insertArtifact(server.api, after.id, 'model/a', Buffer.from('bb'));
    const { out, code } = await server.assay(['diff', before.label, after.label], { isTerminal: true });
    expect(code).toBe(0);
    expect(out.split('\n')[0]).toBe(
      `${after.label} differs from ${before.label} in lr (0.1 → 0.05) and in new "name".py and train.py; accuracy 0.91 → 0.94 (better).`,
    );
    expect(out).toMatch(/\+ +new "name"\.py +\+1/);
    expect(out).toMatch(/~ +README\.md .*enters no result by itself/);
    expect(out).toContain('+print("more")');
    expect(out).toMatch(/accuracy +train +0\.91 +0\.94 +\+0\.03 \(\+3\.3 %\) +better/);
    expect(out).toMatch(/~ +model\/a +train +1 B +2 B/);
    expect(out).not.toContain('epochs');
    expect(out.indexOf('train fit_seconds')).toBeGreaterThan(out.indexOf('Durations'));
  });

  it('in a pipe is one line per difference, and with --code a patch that git applies', async () => {
    const [before, after] = [await insert(), await insert({ code: 'second', values: { seed: 7 } })];
    const { out } = await server.assay(['diff', before.label, after.label]);
    expect(out.split('\n').slice(1)).toEqual([
      'code\tnew "name".py\tadded\t0\t1',
      expect.stringMatching(/^code\ttrain\.py\tchanged\t/),
      expect.stringMatching(/^code\tREADME\.md\tchanged\t/),
      'seed\tseed\tchanged\t0\t7',
      '',
    ]);
    const patch = await server.assay(['diff', before.label, after.label, '--code']);
    const dir = join(server.home, 'digits');
    await git(dir, 'checkout', '--quiet', commits.first);
    await writeFile(join(server.home, 'change.patch'), patch.out);
    await git(dir, 'apply', '--index', join(server.home, 'change.patch'));
    expect(await git(dir, 'write-tree')).toBe(trees.second);
    const json = JSON.parse((await server.assay(['diff', before.label, after.label, '--json'])).out) as RunDiff;
    expect(json.seed).toEqual({ name: 'seed', what: 'changed', before: 0, after: 7 });
  });

  it('says that equal inputs gave equal results, also of a run with itself', async () => {
    const [a, b] = [await insert({ metrics: { accuracy: 0.9 } }), await insert({ metrics: { accuracy: 0.9 } })];
    expect((await diff(a, a)).sentence).toBe(`${a.label} is compared with itself.`);
    expect((await diff(a, b)).sentence).toBe(
      `${b.label} and ${a.label} are made from exactly the same inputs and have the same results.`,
    );
  });

  it('shows packages, Python and the machine', async () => {
    await keepEnvironmentOf('numpy==1.26.4\nscipy==1.11.0', 'e-old');
    await keepEnvironmentOf('numpy==2.0.0\ntorch==2.3.1', 'e-new', '3.12.1');
    const before = await insert({ values: { environmentKey: 'e-old' } });
    const after = await insert({ values: { environmentKey: 'e-new' } });
    await server.api.db
      .update(attempts)
      .set({ hardware: { host: 'a', cpuModel: 'Xeon', logicalCores: 8 } })
      .where(eq(attempts.runId, before.id));
    await server.api.db
      .update(attempts)
      .set({ hardware: { host: 'b', cpuModel: 'Epyc', logicalCores: 8 } })
      .where(eq(attempts.runId, after.id));
    const found = await diff(before, after);
    expect(found.packages.map(({ name, what, before: a, after: b }) => [name, what, a, b])).toEqual([
      ['numpy', 'changed', '1.26.4', '2.0.0'],
      ['scipy', 'removed', '1.11.0', null],
      ['torch', 'added', null, '2.3.1'],
    ]);
    expect(found.environment).toEqual([{ name: 'python', what: 'changed', before: '3.11.7', after: '3.12.1' }]);
    expect(found.hardware).toEqual([
      { stages: ['train'], name: 'cpuModel', what: 'changed', before: 'Xeon', after: 'Epyc' },
    ]);
    expect(found.sentence).toContain(
      'in 3 packages, in Python (3.11.7 → 3.12.1) and in hardware (cpuModel Xeon → Epyc)',
    );
  });

  it('compares data by rows, columns and profile, and knows another order', async () => {
    const lake = { db: server.api.db, store: server.api.deps.store, engine: server.api.deps.lakeEngine };
    const source = Readable.from(['id,price\n1,10\n2,20\n3,30\n']);
    await appendSegment(lake, { table: 'sales', source, format: 'csv', by: 'test' });
    const queries = [
      'SELECT * FROM sales ORDER BY id',
      'SELECT * FROM sales ORDER BY id DESC',
      'SELECT id, price * 2.5 AS price, 1 AS one FROM sales WHERE id < 3',
    ];
    const withData = projectConfig({
      ...config,
      data: [{ kind: 'query', name: 'sales', query: 'sales.sql', to: 'sales.csv', format: 'csv' }],
    });
    const given: { id: string; label: string }[] = [];
    for (const query of queries) {
      const snapshot = await materialise(lake, { query, asOf: null });
      const run = await insert({ config: withData });
      given.push(run);
      const facts = { query: 'sales.sql', rows: snapshot.rows, sizeBytes: snapshot.sizeBytes };
      const row = {
        runId: run.id,
        name: 'sales',
        to: 'sales.csv',
        asOf: '2026-01-01T00:00:00Z',
        snapshotId: snapshot.id,
        digest: snapshot.sha256,
        facts,
      };
      await server.api.db.insert(runData).values(row);
    }
    const [first, reversed, other] = given as [(typeof given)[0], (typeof given)[0], (typeof given)[0]];
    expect((await diff(first, reversed)).data).toMatchObject([
      { name: 'sales', sameRows: true, summary: 'the same 3 rows in another order' },
    ]);
    const [change] = (await diff(first, other, '&profile=true')).data;
    expect(change).toMatchObject({ sameRows: false, before: { rows: 3 }, after: { rows: 2 } });
    expect(change?.columns.map(({ name, what }) => [name, what])).toEqual([
      ['price', 'changed'],
      ['one', 'added'],
    ]);
    const price = change?.profile?.find(({ column }) => column === 'price');
    expect(price?.statistics.find(({ name }) => name === 'max')).toMatchObject({ before: '30' });
    const { out } = await server.assay(['diff', first.label, other.label, '--profile'], { isTerminal: true });
    expect(out).toMatch(/sales: 3 → 2 rows, 2 columns \(sales\.sql\)/);
    expect(out).toMatch(/price +max +30 +50/);
  });

  it('reads what a reused step stands for, and reads nothing twice', async () => {
    const before = await insert({ metrics: { accuracy: 0.9 } });
    const after = await insert();
    await insertArtifact(server.api, before.id, 'model/a', Buffer.from('a'));
    await server.api.db
      .update(steps)
      .set({ status: 'reused', reusedFrom: before.id, fence: 1 })
      .where(eq(steps.runId, after.id));
    const found = await diff(before, after);
    expect(found.results).toMatchObject({ metrics: { differing: 0 }, artifacts: { differing: 0 } });
    expect(found.durations.find(({ step }) => step === 'train')?.after).toMatchObject({ reusedFrom: before.label });
    const third = await insert({ metrics: { accuracy: 0.8 } });
    expect((await diff(after, third)).results).toMatchObject({
      metrics: { differing: 1 },
      artifacts: { differing: 1 },
    });
  });

  it('takes the stored archives where the mirror has lost the commits', async () => {
    const { mirrors, store } = server.api.deps;
    const kept = await Promise.all(
      [commits.first, commits.second].map(async (commit) =>
        keepBlob(server.api.db, store, await mirrors.archive(project.id, commit)),
      ),
    );
    const fresh = await server.api.project();
    const lost = async (code: 'first' | 'second', sha256: string | undefined) => ({
      id: await insertRun(server.api, fresh.id, {
        config,
        values: { commit: commits[code], tree: trees[code], sourceSha256: sha256 ?? null },
      }),
    });
    const [before, after] = [await lost('first', kept[0]?.sha256), await lost('second', kept[1]?.sha256)];
    const there = await diff(await insert(), await insert({ code: 'second' }), '&patch=whole');
    const found = await diff(before, after, '&patch=whole');
    expect(found.code?.files.map(({ path }) => path)).toEqual(there.code?.files.map(({ path }) => path));
    expect(found.code?.patch).toBe(there.code?.patch);
    expect(found.notes.filter((note) => note.includes('stored archive'))).toHaveLength(2);
    // Across projects, one side from its mirror and one from its archive.
    expect((await diff(await insert(), after, '&patch=whole')).code?.patch).toBe(there.code?.patch);
    await store.delete(kept[1]?.sha256 ?? '');
    const gone = await diff(before, after);
    expect(gone.code).toBeNull();
    expect(gone.sentence).toContain('in the code;');
    expect(gone.notes.join(' ')).toContain('The code differs, and cannot be shown');
    expect(gone.notes.join(' ')).toContain(kept[1]?.sha256);
  });

  it('compares with the champion, by default and by name', async () => {
    const { label } = await insert({ metrics: { accuracy: 0.93 } });
    expect((await server.assay(['diff', label])).notes).toContain('so there is no champion');
    const { runId, version } = await insertVersion(server.api, project.id, {
      config,
      metrics: { accuracy: 0.9 },
      values: { commit: commits.first, tree: trees.first, params: { lr: 0.2 }, seed: 0 },
    });
    expect((await server.assay(['promote', 'digits', String(version), '--reason', 'first'])).code).toBe(0);
    const [championRun] = await server.api.db.select().from(runs).where(eq(runs.id, runId));
    const start = `${label} differs from the champion digits version ${version} (digits/${championRun?.number}) in 2 parameters`;
    for (const words of [[label], [label, 'champion'], ['champion', label]]) {
      expect((await server.assay(['diff', ...words])).out.split(';')[0]).toContain(start.split(' in ')[0]);
    }
    expect((await server.assay(['diff', `digits/${championRun?.number}`])).out).toContain(
      `is itself the champion digits version ${version}.`,
    );
  });

  it('needs both runs within reach, and names the one that is not', async () => {
    const mine = await insert();
    const other = await server.api.project();
    const foreign = await insertRun(server.api, other.id);
    const token = await server.api.token({ role: 'observer', projectId: project.id });
    const answer = await server.api.call('GET', `/runs/${mine.id}/diff?with=${foreign}`, { token });
    expect(refusal(answer)).toEqual({ status: 404, code: 'not-found' });
    expect(answer.text).toContain(foreign);
    expect((await server.api.call('GET', `/runs/${mine.id}/diff?with=nonsense`)).status).toBe(400);
  });

  it('of a run that never read its commit says so and compares the rest', async () => {
    const broken = await insert({
      status: 'failed',
      values: { commit: null, tree: null, params: null, config: null, seed: null, gateResult: null },
    });
    const found = await diff(await insert(), broken);
    expect(found.notes.join(' ')).toContain(`${broken.label} never came to read its commit`);
    expect(found.sentence).toMatch(/what can be compared; digits\/\d+ succeeded, digits\/\d+ failed\.$/);
  });
});

async function keepEnvironmentOf(requirements: string, environmentKey: string, python = '3.11.7'): Promise<void> {
  const lines = requirements.split('\n').map((line) => `${line} \\\n    --hash=sha256:${sha256(line)}`);
  const lock = await keepBlob(
    server.api.db,
    server.api.deps.store,
    Buffer.from(`# assay lock 1\n${lines.join('\n')}\n`),
  );
  await keepEnvironment(server.api.db, {
    environmentKey,
    lockSha256: lock.sha256,
    python,
    platform: 'linux-x86_64-glibc_2.36',
    base: null,
  });
}

describe('assay explain', () => {
  const ingredients = (changes: Record<string, unknown> = {}) => ({
    project: 'digits',
    stage: 'train',
    codeDigest: 'c'.repeat(64),
    command: 'python train.py',
    params: { lr: 0.1 },
    paramStyle: 'json',
    environmentKey: 'e1',
    upstream: [{ stage: 'prepare', path: 'a.csv', mode: '100644', sha256: 'aa' }],
    data: [],
    seed: 0,
    env: { MODE: 'fast' },
    secrets: [{ name: 'HF_TOKEN', version: 2 }],
    cpus: 2,
    threads: 2,
    accelerators: null,
    runner: { kind: 'process', platform: 'linux-x64', libc: 'glibc_2.36', pythonBuild: '3.11.7' },
    network: 'open',
    outputs: ['model/'],
    deterministic: false,
    ...changes,
  });

  async function insertKeyed(
    code: 'first' | 'second',
    changes: Record<string, unknown> = {},
    more: RunWish['values'] = {},
  ) {
    const run = await insert({ code, values: more });
    const key = { stepKey: sha256(JSON.stringify([code, changes])), ingredients: ingredients(changes) };
    await server.api.db.update(steps).set(key).where(eq(steps.runId, run.id));
    return run;
  }

  it('says why a step ran, in words that name files and parameters', async () => {
    const before = await insertKeyed('first');
    const after = await insertKeyed('second', { codeDigest: 'd'.repeat(64), params: { lr: 0.05 } });
    const { out } = await server.assay(['explain', after.label, 'train'], { isTerminal: true });
    expect(out.split('\n')[0]).toBe(
      `✓ train: Ran, because no earlier result had this key; against ${before.label}: new "name".py was added, train.py changed (1 line) and lr 0.1 → 0.05.`,
    );
    expect(out).toMatch(/ {2}code +d{12}, \d+ files\n/);
    expect(out).toMatch(/ {2}secrets +HF_TOKEN version 2\n/);
    expect(out).toMatch(/ {2}files before +prepare: 1 file\n/);
    expect(out).toMatch(/ {2}variables +MODE\n/);
    const piped = await server.assay(['explain', after.label]);
    expect(piped.out).toMatch(/^train\tsucceeded\t[0-9a-f]{64}\tRan, because/);
    expect((await server.assay(['explain', after.label, 'train', '--files'])).out).toContain('file\ttrain.py\n');
  });

  it('says of a reused step where its result is from, and that nothing differs', async () => {
    const before = await insertKeyed('first');
    const after = await insertKeyed('first');
    await server.api.db.update(steps).set({ status: 'reused', reusedFrom: before.id }).where(eq(steps.runId, after.id));
    const { out } = await server.assay(['explain', after.label, '--with', before.label], { isTerminal: true });
    expect(out).toContain(`train: Reused from ${before.label}: the key is equal.`);
    expect(out).toContain(`The key is that of ${before.label}.`);
    const forced = await insertKeyed('first', {}, { reuse: false });
    expect((await server.assay(['explain', forced.label])).out).toContain(
      'because the run was submitted with --no-reuse.',
    );
  });

  it('of a step that is not there names those that are', async () => {
    const { label } = await insertKeyed('first');
    const { code, notes } = await server.assay(['explain', label, 'trian']);
    expect(code).toBe(1);
    expect(notes).toContain('Did you mean "train"?');
  });
});
