// Pairs of runs as rows, with real blobs, snapshots and a real query process.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { compareOutputs, compareRuns } from '#activities/verdict/compare.ts';
import { evaluateGate } from '#core/gate.ts';
import type { Hardware } from '#core/hardware.ts';
import type { ProjectConfig, Stage } from '#core/project.ts';
import type { Layer, VerdictReport } from '#core/verdict.ts';
import { keepEnvironment } from '#db/environments.ts';
import { newId } from '#db/ids.ts';
import { executions, runs } from '#db/schema/runs.ts';
import { artifacts, attempts, metrics, steps } from '#db/schema/steps.ts';
import { pinRunData } from '#db/run-data.ts';
import { createLock } from '#environment/lock.ts';
import { materialise } from '#lake/query.ts';
import { keepBlob } from '#storage/keep.ts';
import { projectConfig, stage as stageOf } from '#test/api/project-config.ts';
import { insertProject, insertQueued } from '#test/db/runs-in-database.ts';
import { createTestLake, type TestLake } from '#test/lake/lake.ts';

let lake: TestLake;
let projectId: string;
beforeAll(async () => {
  lake = await createTestLake();
  projectId = await insertProject(lake.db, 'digits');
  execFileSync('python3', [new URL('write-archives.py', import.meta.url).pathname, lake.scratch]);
});
afterAll(() => lake.remove());

const deps = () => ({ db: lake.db, store: lake.store, lake });
const archive = (name: string) => readFileSync(join(lake.scratch, name));
const keep = async (bytes: Buffer | string) => (await keepBlob(lake.db, lake.store, Buffer.from(bytes))).sha256;

const stage = (name: string, more: Partial<Stage> = {}): Stage =>
  stageOf({
    name,
    command: `python ${name}.py`,
    resources: { accelerators: null, cpus: null, memoryGib: null, nodes: 1 },
    outputs: [],
    ...more,
  });

interface Made {
  config?: Partial<ProjectConfig>;
  run?: Partial<typeof runs.$inferInsert>;
  files?: Record<string, Buffer | string>;
  metrics?: Record<string, number>;
  hardware?: Partial<Hardware>;
  devices?: string[];
  threads?: number;
  lock?: string[];
  /** Of one failing stage. */
  failure?: { class: 'user' | 'data'; sentence: string };
  data?: Parameters<typeof pinRunData>[1] | null;
}

const config = projectConfig({
  metrics: { files: [], declare: { accuracy: { goal: 'max', from: null, use: 'last', tolerance: 0.002 } } },
  gate: ['accuracy >= 0.9'],
  stages: [stage('train')],
});

const usual = { files: { 'model/w.bin': 'weights' }, metrics: { accuracy: 0.97, seconds: 12 } };

/** A run whose one stage `train` came to its end. */
async function insertRun(made: Made): Promise<string> {
  const given = { ...usual, ...made };
  const chosen = { ...config, ...made.config };
  const environmentKey = createHash('sha256')
    .update(JSON.stringify(made.lock ?? []))
    .digest('hex');
  const entries = (made.lock ?? ['numpy==1.26.4']).map((requirement) => ({ requirement, hashes: ['sha256:ab'] }));
  const lockSha256 = await keep(createLock(entries, [], []).text);
  await keepEnvironment(lake.db, { environmentKey, lockSha256, python: '3.11.7', platform: 'linux', base: null });
  const summary = Object.entries(given.metrics).map(([key, value]) => ({
    key,
    stage: 'train',
    last: value,
    min: value,
    max: value,
    count: 1,
    lastStep: 0,
  }));
  const report = evaluateGate({
    rules: chosen.gate,
    metrics: summary,
    declare: chosen.metrics.declare,
    champion: null,
  });
  const runId = await insertQueued(lake.db, projectId, {
    status: 'running',
    commit: 'c'.repeat(40),
    tree: 'd'.repeat(40),
    params: { lr: 0.1, layers: { units: 8 } },
    seed: 7,
    environmentKey,
    config: chosen,
    gateResult: report.result,
    gateReport: report,
    ...made.run,
  });
  await lake.db.update(executions).set({ dispatch: 'closed' }).where(eq(executions.runId, runId));
  const failed = made.failure !== undefined;
  const failure = made.failure && { ...made.failure, step: 'train', logTail: [], exitCode: 1 };
  await lake.db.insert(steps).values({
    runId,
    execution: 1,
    name: 'train',
    kind: 'stage',
    position: 1,
    status: failed ? 'failed' : 'succeeded',
    fence: 1,
    failure: failure ?? null,
    ingredients: {
      codeDigest: 'e',
      command: 'python train.py',
      params: {},
      threads: made.threads ?? 1,
      env: {},
    },
  });
  await lake.db.insert(attempts).values({
    runId,
    step: 'train',
    fence: 1,
    execution: 1,
    nodeId: 'node',
    pool: 'cpu',
    status: failed ? 'failed' : 'succeeded',
    launch: newId(),
    devices: made.devices ?? [],
    leaseExpiresAt: new Date(),
    hardware: { host: newId(), cpuModel: 'Xeon', logicalCores: 8, ...made.hardware },
  });
  const at = { runId, step: 'train', fence: 1 };
  for (const [path, bytes] of Object.entries(given.files)) {
    const sizeBytes = Buffer.from(bytes).length;
    await lake.db.insert(artifacts).values({ ...at, path, sha256: await keep(bytes), sizeBytes, mediaType: 'x/y' });
  }
  const text = (value: number) => String(value);
  for (const { key, last, min, max, count, lastStep } of summary)
    await lake.db.insert(metrics).values({
      ...at,
      key,
      count,
      lastStep,
      last: text(last),
      min: text(min),
      max: text(max),
      source: 'metrics.json',
    });
  if (made.data) await pinRunData(lake.db, { ...made.data, runId });
  return runId;
}

async function judge(original: Made, reproduction: Made): Promise<VerdictReport> {
  return await compareRuns(deps(), await insertRun(original), await insertRun(reproduction));
}

const layerOf = (report: VerdictReport, layer: Layer) => report.layers.find((found) => found.layer === layer)!;

test('equal bytes and equal numbers are identical, whatever the clock said', async () => {
  const report = await judge({}, { metrics: { accuracy: 0.97, seconds: 13 } });
  expect(report).toMatchObject({ verdict: 'identical', grade: 'G4', firstDifference: null });
  expect(report.sentence).toBe(
    'Identical (G4): the one file of the model digits has the same bytes. The judged metric is equal to the last bit.',
  );
  expect(layerOf(report, 'metrics').differences).toEqual(['train seconds: 12 → 13, not judged']);
  expect(report.layers).toHaveLength(12);
});

test.each<[string, Made, Layer, Partial<VerdictReport>, RegExp]>([
  [
    'the commit',
    { run: { tree: 'f'.repeat(40) } },
    'code',
    { verdict: 'different', grade: 'G0' },
    /The code differs|the code differs/,
  ],
  [
    'a parameter',
    { run: { params: { lr: 0.05, layers: { units: 8 } } } },
    'parameters',
    { verdict: 'different' },
    /lr 0.1 → 0.05/,
  ],
  ['the seed', { run: { seed: 8 } }, 'seed', { verdict: 'different', grade: 'G0' }, /the seed differs: 7 → 8/],
  [
    'a package',
    { lock: ['numpy==2.0.0', 'six==1.16.0'] },
    'lock',
    { verdict: 'equivalent', grade: 'G4' },
    /numpy 1.26.4 → 2.0.0, six absent → 1.16.0/,
  ],
  [
    'the threads, and with them the numbers',
    { threads: 4, metrics: { accuracy: 0.5 } },
    'hardware',
    { verdict: 'different', grade: 'G1' },
    /train: threads 1 → 4.*accuracy: 0.97 → 0.5/,
  ],
  [
    'the processor alone',
    { hardware: { cpuModel: 'EPYC' } },
    'hardware',
    { verdict: 'identical', firstDifference: null },
    /^Identical/,
  ],
  [
    'the numbers within tolerance',
    { metrics: { accuracy: 0.969 }, files: { 'model/w.bin': 'other' } },
    'metrics',
    { verdict: 'equivalent', grade: 'G2' },
    /0.97 → 0.969, tolerance 0.002. The gate decides the same/,
  ],
  [
    'the gate',
    { metrics: { accuracy: 0.89 } },
    'metrics',
    { verdict: 'different', grade: 'G1' },
    /accuracy: 0.97 → 0.89/,
  ],
  [
    'the end',
    { failure: { class: 'user', sentence: 'train exited with 1.' } },
    'outcome',
    { verdict: 'different', grade: 'G0' },
    /reproduction failed \(train exited with 1/,
  ],
  [
    'the end, for want of data',
    { failure: { class: 'data', sentence: 'Blob abc is gone.' } },
    'outcome',
    { verdict: 'not-reproducible', grade: 'G0' },
    /^Not reproducible \(G0\): Blob abc is gone/,
  ],
])('of a change in %s the layer is named', async (_, reproduction, layer, expected, sentence) => {
  const report = await judge({}, reproduction);
  expect(report).toMatchObject({ firstDifference: layer, ...expected });
  expect(report.sentence).toMatch(sentence);
});

test('a GPU stage that is not deterministic is told to expect G2', async () => {
  const report = await judge({ devices: ['0'] }, { devices: ['0'] });
  expect(report.verdict).toBe('identical');
  expect(report.notes.join(' ')).toContain('ran on a GPU without `deterministic: true`');
  const deterministic = { config: { stages: [stage('train', { deterministic: true })] }, devices: ['0'] };
  expect((await judge(deterministic, deterministic)).notes.join(' ')).not.toContain('GPU');
});

const mlmodel = (id: string, more = '') =>
  `artifact_path: models:/m-${id}\nmodel_uuid: ${id}${id}\nrun_id: ${id}run00\nutc_time_created: '2026-01-0${id.length}'\nmodel_size_bytes: 1\nflavors:\n  sklearn:\n    uri: s3://x/${id}run00/model\n    version: 1.4.0\n${more}`;

test('dates in archives and ids in MLmodel are left out of a model, and the verdict says so', async () => {
  const model = (npz: string, id: string) => ({
    files: {
      'model/w.npz': archive(npz),
      'model/MLmodel': mlmodel(id),
      'model/requirements.txt': 'six\n',
      'plot.png': id,
    },
  });
  const report = await judge(model('a.npz', 'abcd'), model('b.npz', 'efghi'));
  expect(report).toMatchObject({ verdict: 'identical', grade: 'G4' });
  expect(layerOf(report, 'model').sentence).toBe('All 3 files of the model digits are equal in content.');
  expect(report.notes[0]).toMatch(/^Left out: .*`MLmodel`.*dates, order/);

  const other = await judge(model('a.npz', 'abcd'), {
    files: {
      'model/w.npz': archive('changed.npz'),
      'model/MLmodel': mlmodel('efghi', 'signature: x\n'),
      'model/requirements.txt': 'six==1\n',
    },
  });
  expect(other).toMatchObject({ verdict: 'equivalent', grade: 'G2', firstDifference: 'model' });
  const { differences, sentence } = layerOf(other, 'model');
  expect(sentence).toBe('3 of 3 files of the model digits differ: model/MLmodel, model/requirements.txt, model/w.npz.');
  expect(differences.join('\n')).toMatch(
    /line \d+ \+ {2}"signature": "x"[^]*line 1 - six\n {2}line 1 \+ six==1\n[^]*member bias.npy: other content/,
  );
});

test('hostile archives and damaged blobs are compared by their digests, and named', async () => {
  const files = (path: string, bytes: Buffer) => ({ files: { [`model/${path}`]: bytes } });
  const cut = await judge(files('w.zip', archive('a.npz')), files('w.zip', archive('truncated.zip')));
  expect(cut).toMatchObject({ verdict: 'equivalent', grade: 'G2', firstDifference: 'model' });
  expect(cut.notes.join(' ')).toMatch(/model\/w.zip was compared as plain bytes: as a zip archive it can not be read/);

  const [a, b] = [
    await insertRun(files('w.npz', archive('a.npz'))),
    await insertRun(files('w.npz', archive('more.npz'))),
  ];
  const sha256 = await keep(archive('more.npz'));
  const stored = join(lake.scratch, 'blobs', 'objects', sha256.slice(0, 2), sha256);
  rmSync(stored);
  writeFileSync(stored, archive('b.npz'));
  const damaged = await compareRuns(deps(), a, b);
  expect(damaged).toMatchObject({ verdict: 'equivalent', firstDifference: 'model' });
  expect(damaged.notes.join(' ')).toMatch(new RegExp(`compared by its digests only: The bytes of blob ${sha256}`));
  rmSync(stored);
  expect((await compareRuns(deps(), a, b)).notes.join(' ')).toContain('compared by its digests only');
});

test('JSON of equal values in other bytes is not equal, and is told for what it is', async () => {
  const json = (text: string) => ({ files: { 'model/config.json': text } });
  const report = await judge(json('{"a": 1, "b": 2}'), json('{"b":2,"a":1}'));
  expect(report).toMatchObject({ verdict: 'equivalent', grade: 'G2', firstDifference: 'model' });
  expect(layerOf(report, 'model').differences[1]).toContain('the same JSON values in another spelling');
});

test('without a model the files of the last stage count, those of metrics aside', async () => {
  const none = { models: [] };
  const report = await judge(
    { config: none, files: { 'metrics.json': '{"seconds": 1}', 'out.txt': 'a' } },
    { config: none, files: { 'metrics.json': '{"seconds": 2}', 'out.txt': 'a' } },
  );
  expect(report).toMatchObject({ verdict: 'identical', grade: 'G4' });
  expect(report.sentence).toContain('all judged files of the stage train are equal');
  expect(report.notes).toContain('No model is declared, so the files of the stage train count as the model.');
  const ignoring = { models: [], verify: { predictions: null, key: null, ignore: ['*.log'] } };
  const logs = (text: string) => ({ config: ignoring, files: { 'x.log': text }, metrics: {} });
  const nothing = await judge(
    { ...logs('a'), config: { ...ignoring, gate: [] } },
    { ...logs('b'), config: { ...ignoring, gate: [] } },
  );
  expect(nothing).toMatchObject({ verdict: 'equivalent', grade: 'G1', firstDifference: null });
  expect(nothing.sentence).toBe(
    'Equivalent (G1): it completed from the same inputs and left nothing that could be compared.',
  );
});

function predictions(change: (row: number) => string | null): string {
  const rows = Array.from({ length: 20_000 }, (_, i) => change(i)).filter((row) => row !== null);
  return `id,score\n${rows.join('\n')}\n`;
}

test('one changed prediction past row 10,000 is found, by key and by order', async () => {
  const verify = { predictions: 'out/p.csv', key: 'id', ignore: [] };
  const files = (text: string) => ({
    config: { verify },
    files: { 'model/w.bin': text.length.toString(), 'out/p.csv': text },
  });
  const plain = predictions((i) => `u${i},${i / 7}`);
  const changed = predictions((i) => (i === 19_000 ? null : `u${i},${i === 12_345 ? 9 : i / 7}`));
  const report = await judge(files(plain), files(changed));
  expect(report).toMatchObject({ verdict: 'equivalent', grade: 'G2', firstDifference: 'predictions' });
  expect(layerOf(report, 'predictions').differences).toEqual([
    '1 of 20000 rows changed, 1 removed, 0 added',
    'column score: 1 values',
    `id u12345 (row 12346): score ${12_345 / 7} → 9`,
    'id u19000 (row 19001): removed',
  ]);

  const turned = `id,score\n${plain.trim().split('\n').slice(1).toReversed().join('\n')}\n`;
  const other = files(plain);
  const same = await judge(other, {
    ...files(turned),
    files: { ...other.files, 'model/w.bin': 'x', 'out/p.csv': turned },
  });
  expect(same).toMatchObject({ verdict: 'equivalent', grade: 'G3' });
  expect(same.notes.join(' ')).toContain('its 20000 rows are equal, matched by id');

  const unkeyed = { verify: { ...verify, key: null } };
  const byOrder = await judge({ ...files(plain), config: unkeyed }, { ...files(turned), config: unkeyed });
  expect(layerOf(byOrder, 'predictions').differences[0]).toContain('the same rows in another order');
});

test('predictions that are no table, or lack the key, are compared as bytes', async () => {
  const run = (path: string, key: string | null, text: string) => ({
    config: { verify: { predictions: path, key, ignore: [] } },
    files: { 'model/w.bin': 'w', [path]: text },
  });
  const noKey = await judge(run('p.csv', 'id', 'a,b\n1,2\n'), run('p.csv', 'id', 'a,b\n1,3\n'));
  expect(noKey.notes.join(' ')).toContain('The file has no column "id"');
  expect(noKey).toMatchObject({ verdict: 'equivalent', firstDifference: 'predictions' });
  const damaged = await judge(run('p.parquet', 'id', 'PAR1x'), run('p.parquet', 'id', 'PAR1y'));
  expect(damaged.notes.join(' ')).toContain('The rows of p.parquet could not be compared');
  const lines = await judge(
    run('p.jsonl', 'id', '{"id": 1, "p": {"a": 1}}\n{"id": 2, "p": {"a": 1}}\n'),
    run('p.jsonl', 'id', '{"id": 2, "p": {"a": 3}}\n{"id": 1, "p": {"a": 1}}\n'),
  );
  expect(layerOf(lines, 'predictions').differences.at(-1)).toBe('id 2 (row 2): p {"a":1} → {"a":3}');
});

test('one old row of the data past row 10,000 is named, and rows in another order are told as such', async () => {
  const rows = (label: number, order: string) =>
    `select i as id, case when i = 11000 then ${label} else i % 10 end as label from range(15000) as r(i) order by i ${order}`;
  const load = async (query: string): Promise<Made> => {
    const asOf = new Date().toISOString();
    const { sha256, id, rows: count, unorderedDigest, engine } = await materialise(lake, { query, params: {}, asOf });
    const facts = { rows: count, unorderedDigest, engine };
    return { data: { runId: '', name: 'digits', to: 'd', asOf, snapshotId: id, digest: sha256, facts } };
  };
  const original = await load(rows(0, 'asc'));
  const report = await judge(original, await load(rows(4, 'asc')));
  expect(report).toMatchObject({ verdict: 'different', grade: 'G0', firstDifference: 'data' });
  expect(layerOf(report, 'data').differences.slice(1)).toEqual([
    '  1 of 15000 rows changed, 0 removed, 0 added',
    '  column label: 1 values, by at most 4',
    '  row 11001: label 0 → 4',
  ]);
  const reordered = await judge(original, await load(rows(0, 'desc')));
  expect(reordered.sentence).toContain('digits: the same rows in another order (15000 rows');
});

test('the outputs of a step are compared alone', async () => {
  const run = (npz: string, text: string) => insertRun({ files: { 'model/w.npz': archive(npz), 'notes.txt': text } });
  const [a, b, c] = [await run('a.npz', 'x'), await run('b.npz', 'x'), await run('a.npz', 'y\u0000\u001b[2J')];
  const step = (runId: string) => ({ runId, step: 'train' });
  expect(await compareOutputs(deps(), step(a), step(b))).toMatchObject({ equal: true, sameBytes: false, files: 2 });
  expect(await compareOutputs(deps(), step(a), step(a))).toMatchObject({ equal: true, sameBytes: true, notes: [] });
  const found = await compareOutputs(deps(), step(a), step(c));
  expect(found).toMatchObject({ equal: false, sameBytes: false, differing: ['notes.txt'] });
  expect(found.differences.slice(1)).toEqual(['  line 1 - x', '  line 1 + y··[2J']);
});
