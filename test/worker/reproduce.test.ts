import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { eq } from 'drizzle-orm';
import type { FastifyInstance } from 'fastify';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Verdict } from '#contract/verdicts.ts';
import type { Run } from '#contract/runs.ts';
import type { Database } from '#db/connect.ts';
import { listRunData } from '#db/run-data.ts';
import { versions } from '#db/schema/models.ts';
import { projects } from '#db/schema/projects.ts';
import { verdicts } from '#db/schema/verdicts.ts';
import { findSnapshot } from '#db/snapshots.ts';
import { createClient } from '#sdk/client.ts';
import { appendSegment } from '#lake/append.ts';
import { callCli } from '#test/cli/call.ts';
import { startTestWorkers, type TestWorkers } from '../support/workers.ts';
import { buildWorkersApi } from '../support/workers-api.ts';

let workers: TestWorkers;
let app: FastifyInstance;
let client: ReturnType<typeof createClient>;
let env: Record<string, string>;
/** Nothing is in it: a colleague has only the server. */
let elsewhere = '';

beforeAll(async () => {
  workers = await startTestWorkers({ slots: 3, database: losingVerdicts });
  const api = await buildWorkersApi(workers, { owner: 'bob', temporal: () => null });
  app = api.app;
  const { token } = api;
  const url = await app.listen({ host: '127.0.0.1', port: 0 });
  client = createClient({ url, token });
  elsewhere = await mkdtemp(join(tmpdir(), 'assay-elsewhere-'));
  env = { HOME: elsewhere, ASSAY_URL: url, ASSAY_TOKEN: token };
  await appendSegment(workers.lake, {
    table: 'points',
    source: Readable.from('x,y\n1,2\n2,4\n'),
    format: 'csv',
    by: 'ada',
  });
});

afterAll(async () => {
  await app.close();
  await rm(elsewhere, { recursive: true, force: true });
  await workers.stop();
});

let loses = false;

/** While `loses` is set, the first transaction after which there is a new verdict is committed and its answer lost. */
function losingVerdicts(db: Database): Database {
  const transaction: Database['transaction'] = async (work, config) => {
    const before = loses ? await db.$count(verdicts) : 0;
    const result = await db.transaction(work, config);
    if (!loses || (await db.$count(verdicts)) === before) return result;
    loses = false;
    throw new Error('Connection terminated unexpectedly');
  };
  return new Proxy(db, {
    get: (target, key) => (key === 'transaction' ? transaction : (Reflect.get(target, key) as unknown)),
  });
}

const assay = (...words: string[]) => callCli(words, { cwd: elsewhere, env });

/** As `assay reproduce LABEL --json` answers. */
async function reproduce(label: string): Promise<{ code: number; verdict: Verdict; notes: string }> {
  const { code, out, notes } = await assay('reproduce', label, '--json');
  return { code, verdict: JSON.parse(out) as Verdict, notes };
}

async function finish(name: string, files: Record<string, string>): Promise<{ id: string; projectId: string }> {
  const { projectId, commit } = await workers.createProject(name, files);
  const id = await workers.submit(projectId, commit);
  const { failure } = await workers.finished(id);
  // A stage may be meant to fail; anything else would be told as a reproduction that is refused.
  if (failure !== null && failure.class !== 'user') throw new Error(failure.sentence);
  return { id, projectId };
}

const project = (name: string) => `
data: { points: { query: points.sql, to: data/points.csv } }
stages:
  prepare: { command: 'python -c "open(\\"numbers.txt\\", \\"w\\").write(\\"1 2 3\\")"', outputs: [numbers.txt] }
  train: { command: python train.py, needs: [prepare], outputs: [model/, metrics.json] }
model: { name: ${name}, path: model/ }
gate: ["accuracy >= 0.5", "accuracy >= champion - 0.01"]
promote: when-passed
`;

const train = `
import json, os, random, time
os.makedirs("model", exist_ok=True)
random.seed(int(os.environ["ASSAY_SEED"]))
rows = open("data/points.csv").read()
open("model/weights.txt", "w").write(f"{random.random()} {rows}" + open("numbers.txt").read())
json.dump({"accuracy": 0.9}, open("metrics.json", "w"))
`;

const files = (name: string, script = train): Record<string, string> => ({
  'assay.yaml': project(name),
  'points.sql': 'select x, y from points order by x',
  'train.py': script,
  'lib/it"s.py': '# a name that has to be quoted\n',
});

describe('a reproduction', () => {
  it('of a deterministic script is identical, makes no version, and both runs show the verdict', async () => {
    const { id } = await finish('same', files('same'));
    const later = Readable.from('x,y\n3,6\n');
    await appendSegment(workers.lake, { table: 'points', source: later, format: 'csv', by: 'ada' });
    const { code, verdict } = await reproduce('same/1');
    expect({ code, ...verdict.report }).toMatchObject({
      code: 0,
      verdict: 'identical',
      grade: 'G4',
      firstDifference: null,
    });
    expect(verdict).toMatchObject({ run: 'same/2', original: 'same/1' });
    const [original, again] = await Promise.all([client.runs.get('same/1'), client.runs.get('same/2')]);
    expect(again.steps.map(({ name, status }) => `${name} ${status}`)).toEqual([
      'resolve-commit succeeded',
      'build-environment succeeded',
      'load-data succeeded',
      'prepare succeeded',
      'train succeeded',
      'persist succeeded',
      'gate succeeded',
      'verdict succeeded',
    ]);
    expect(pick(again)).toEqual(pick(original));
    expect(again).toMatchObject({ reproduces: id, gateResult: 'passed', deleteAfter: null, versions: [] });
    expect(again.verdict).toMatchObject({ verdict: 'identical', as: 'reproduction', other: 'same/1' });
    expect(original.verdict).toMatchObject({ verdict: 'identical', as: 'original', other: 'same/2' });
    expect(original.versions).toMatchObject([{ version: 1, aliases: ['production'] }]);
    expect(await workers.db.select().from(versions).where(eq(versions.runId, again.id))).toEqual([]);
    expect((await client.runs.verdicts('same/1')).items).toEqual([verdict]);
    expect((await assay('ls', '--project', 'same')).out).toMatch(/^same\/2\t.*\tidentical G4\t\n/);
    expect((await assay('show', 'same/1')).out).toContain('identical (G4), reproduced by same/2');

    const third = await reproduce('same/2');
    expect(third.verdict).toMatchObject({ run: 'same/3', original: 'same/2', report: { verdict: 'identical' } });
    expect((await client.runs.get('same/2')).verdict).toMatchObject({ as: 'reproduction', other: 'same/1' });
  });

  it('names what differs first: a model of random bytes, a metric of the time', async () => {
    await finish(
      'random',
      files(
        'random',
        train.replace('random.seed', 'random.SystemRandom().seed').replace('random.random()', 'os.urandom(4).hex()'),
      ),
    );
    const random = await reproduce('random/1');
    expect({ code: random.code, ...random.verdict.report }).toMatchObject({
      code: 0,
      verdict: 'equivalent',
      firstDifference: 'model',
    });
    expect(random.verdict.report.layers.find(({ layer }) => layer === 'model')?.differences.join()).toContain(
      'weights.txt',
    );

    await finish(
      'timely',
      files(
        'timely',
        train.replace('"accuracy": 0.9', '"accuracy": 0.9, "now": 10 ** (time.time_ns() // 100 % 10**6 / 10**6 * 300)'),
      ),
    );
    const { code, out } = await assay('reproduce', 'timely/1');
    expect(code).toBe(1);
    expect(out.split('\n')[0]).toBe('timely/2\ttimely/1\tdifferent\tG1\tmetrics');
    expect(out).toMatch(/now/);
  });

  it('needs neither the remote nor the mirror', async () => {
    const { projectId } = await finish('remote-gone', files('remote-gone'));
    await workers.db
      .update(projects)
      .set({ remoteUrl: 'https://127.0.0.1:9/gone.git' })
      .where(eq(projects.id, projectId));
    const mirror = join(workers.home, 'git', `${projectId}.git`);
    await rm(mirror, { recursive: true });
    const { code, verdict } = await reproduce('remote-gone/1');
    expect({ code, ...verdict.report }).toMatchObject({ code: 0, verdict: 'identical', grade: 'G4' });
    expect(await readdir(join(mirror, 'refs', 'assay', 'trees'))).toHaveLength(1);
    const [before, after] = await Promise.all([client.runs.get('remote-gone/1'), client.runs.get('remote-gone/2')]);
    const keys = ({ steps }: Run) => steps.flatMap(({ stepKey }) => stepKey ?? []);
    expect(keys(after)).toEqual(keys(before));
  });

  it('is refused at once where a fact or an object is missing, each by its name', async () => {
    const { projectId } = await workers.createProject('nothing', { 'train.py': 'pass\n' });
    await workers.finished(await workers.submit(projectId, 'f'.repeat(40)));
    const never = await assay('reproduce', 'nothing/1');
    expect(never.code).toBe(3);
    expect(never.notes).toMatch(/never reached a commit.*source was never stored.*environment was never made/s);

    const { id } = await finish('lost-data', files('lost-data'));
    const [row] = await listRunData(workers.db, id);
    const snapshot = await findSnapshot(workers.db, row?.snapshotId ?? '');
    const gone = [snapshot?.sha256 ?? '', ...(snapshot?.segments ?? []).map(({ sha256 }) => sha256)];
    const kept = await Promise.all(gone.map(async (sha256) => (await workers.store.get(sha256)).toArray()));
    for (const sha256 of gone) await workers.store.delete(sha256);
    try {
      const lost = await assay('reproduce', 'lost-data/1');
      expect(lost.code).toBe(3);
      expect(lost.notes).toContain('the snapshot of its data points is gone');
      // It was accepted before they went.
      const late = await workers.submit((await workers.load(id)).projectId, 'main', { reproduces: id });
      expect(await workers.finished(late)).toMatchObject({ status: 'failed', failure: { step: 'resolve-commit' } });
      expect((await client.runs.get(late)).verdict).toMatchObject({ verdict: 'not-reproducible', grade: 'G0' });
    } finally {
      for (const chunks of kept) await workers.store.put(Buffer.concat(chunks as Buffer[]));
    }
  });

  it('of a run that failed compares how it failed; a stage that fails only now is another outcome', async () => {
    await finish('failing', files('failing', 'raise SystemExit(3)\n'));
    const same = await reproduce('failing/1');
    expect({ code: same.code, ...same.verdict.report }).toMatchObject({ code: 0, verdict: 'equivalent' });
    expect(same.verdict.report.layers[0]).toMatchObject({ layer: 'outcome', result: 'equal' });
    expect(await client.runs.get('failing/2')).toMatchObject({ status: 'failed', actions: [] });
    await expect(client.runs.resume('failing/2')).rejects.toThrow(/has its verdict/);

    await finish(
      'flaky',
      files('flaky', `${train}\nraise SystemExit(0 if os.environ["ASSAY_RUN"] == "flaky/1" else 4)\n`),
    );
    const flaky = await reproduce('flaky/1');
    expect({ code: flaky.code, ...flaky.verdict.report }).toMatchObject({
      code: 1,
      verdict: 'different',
      firstDifference: 'outcome',
    });
    expect(flaky.verdict.report.layers[0]?.sentence).toContain('code 4');
  });

  it('has one verdict although the answer of the database was lost when it was written', async () => {
    await finish('lost-answer', files('lost-answer'));
    loses = true;
    const { code } = await reproduce('lost-answer/1');
    expect({ code, loses }).toEqual({ code: 0, loses: false });
    expect((await client.runs.verdicts('lost-answer/1')).items).toHaveLength(1);
  });

  it('that is cancelled has no verdict', async () => {
    await finish('stopped', files('stopped', `${train}\nif os.environ["ASSAY_RUN"] != "stopped/1": time.sleep(600)\n`));
    const { id } = await client.runs.reproduce('stopped/1');
    await workers.until(id, async () =>
      (await workers.steps(id)).some((step) => step.name === 'train' && step.status === 'running'),
    );
    await client.runs.cancel(id);
    expect((await workers.finished(id)).status).toBe('cancelled');
    expect(await client.runs.get(id)).toMatchObject({ verdict: null, actions: ['resume'] });
  });
});

describe('assay verify-determinism', () => {
  it('runs the stage twice on the files of the run and says whether the bytes match', async () => {
    const half = train.replace('{random.random()}', '{os.urandom(4).hex()}');
    await finish('half', files('half', half));
    const random = await assay('verify-determinism', 'half/1', 'train');
    expect(random.code).toBe(1);
    expect(random.out).toMatch(
      /train of half\/1 is not deterministic: 1 of 2 files differ\.\n {2}model\/weights\.txt: /,
    );
    const steps = (await client.runs.get('half/2')).steps.map(
      ({ name, status, reusedFrom }) => `${name} ${status} ${reusedFrom ?? ''}`,
    );
    expect(steps.slice(3)).toEqual(['prepare reused half/1', 'train succeeded ']);
    expect((await client.runs.verdicts('half/1')).items).toEqual([]);

    const prepare = await assay('verify-determinism', 'half/1', 'prepare');
    expect(prepare).toMatchObject({ code: 0, out: expect.stringContaining('prepare of half/1 is deterministic') });
    const unknown = await assay('verify-determinism', 'half/1', 'trian');
    expect(unknown).toMatchObject({ code: 1, notes: expect.stringContaining('Did you mean train?') });
  });
});

/** What a reproduction has of its original. */
function pick({ commit, tree, branch, params, seed, asOf, environmentKey, sourceSha256 }: Run) {
  return { commit, tree, branch, params, seed, asOf, environmentKey, sourceSha256 };
}
