// A run of real workers, its statement, and its bundle from a real API, checked where neither of them can be reached.
import { execFile } from 'node:child_process';
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { persist } from '#activities/persist.ts';
import { type RunningApi, startApi } from '#api/start.ts';
import type { SigningKey } from '#contract/proof.ts';
import { newId } from '#db/ids.ts';
import { promote } from '#db/promotions.ts';
import { models, pins } from '#db/schema/models.ts';
import { runs } from '#db/schema/runs.ts';
import { issueToken } from '#db/tokens.ts';
import { appendSegment } from '#lake/append.ts';
import { createDatasetVersion } from '#lake/datasets.ts';
import { createSigner, keyIdOf } from '#proof/envelope.ts';
import { keepBlob, readBlob } from '#storage/keep.ts';
import { callCli } from '#test/cli/call.ts';
import { createLogger } from '#worker/logger.ts';
import { openSigningKey } from '#worker/signing-key.ts';
import { startTestWorkers, type TestWorkers } from '../support/workers.ts';

const run = promisify(execFile);

let workers: TestWorkers;
let api: RunningApi;
let home: string;
let token: string;
let runId: string;
let submitAgain: () => Promise<string>;

const files = {
  'assay.yaml': `
project: proven
data:
  points: { query: points.sql, to: data/points.csv }
  pets: { dataset: pets, to: data/pets }
stages:
  prepare: { command: python prepare.py, outputs: [ok], retries: 1 }
  train: { command: python train.py, outputs: [model/, metrics.json] }
model: { name: proven, path: model/ }
gate: ["accuracy >= 0.5"]
seed: 7
`,
  'prepare.py':
    'import os\nprint("attempt", os.environ["ASSAY_ATTEMPT"])\nopen("ok", "w")\nassert os.environ["ASSAY_ATTEMPT"] != "1"\n',
  'points.sql': 'select x, y from points order by x',
  'train.py': `
import json, os
os.makedirs("model/deep/" + "er/" * 40, exist_ok=True)
open("model/weights.bin", "wb").write(bytes(range(256)) * 5000)
open("model/deep/" + "er/" * 40 + "ünï\\nline", "w").write("odd")
json.dump({"accuracy": 0.9}, open("metrics.json", "w"))
print("trained")
`,
};

beforeAll(async () => {
  workers = await startTestWorkers();
  home = await mkdtemp(join(tmpdir(), 'assay-proof-'));
  const { connection, store, mirrors, lake, secretsKey, temporal } = workers;
  api = await startApi(
    { api: { host: '127.0.0.1', port: 0, publicUrl: 'http://127.0.0.1' }, home, runner: { kind: 'process' } },
    {
      connection,
      store,
      mirrors,
      lakeEngine: lake.engine,
      secretsKey,
      temporal: { ...temporal, uiUrl: null },
      log: createLogger('silent'),
    },
  );
  const wanted = { name: 'ml', owner: 'ada', role: 'ml' as const, projectId: null, expiresInDays: null, issuedBy: 'x' };
  token = (await issueToken(connection.db, wanted, null)).token;
  await appendSegment(lake, { table: 'points', source: Readable.from('x,y\n1,2\n2,4\n'), format: 'csv', by: 'ada' });
  const cat = await keepBlob(connection.db, store, Buffer.from('cat'));
  await createDatasetVersion(lake, { name: 'pets', files: [{ path: 'a cat.png', ...cat }], by: 'ada' });
  const { projectId, commit } = await workers.createProject('proven', files);
  submitAgain = () => workers.submit(projectId, commit, { reuse: true });
  runId = await submitAgain();
  await workers.finished(runId);
});

afterAll(async () => {
  await api.close();
  await workers.stop();
  await rm(home, { recursive: true, force: true });
});

/** Without a server unless it is given: an address at which nobody listens. */
function assay(words: string[], url = 'http://127.0.0.1:1', cwd = home) {
  return callCli(words, { cwd, env: { HOME: home, ASSAY_URL: url, ASSAY_TOKEN: token } });
}

async function exported(name: string, ...options: string[]): Promise<string> {
  const done = await assay(['export', runId, name, ...options], api.url);
  expect(done).toMatchObject({ code: 0, out: `${join(home, name)}\n` });
  return join(home, name);
}

const persistDeps = () => ({ ...workers, publicUrl: 'http://127.0.0.1:7410' });

describe('a run that was persisted', () => {
  it('has a statement about its model, its inputs and its logs, signed by the registered key', async () => {
    const row = await workers.load(runId);
    expect(row).toMatchObject({ status: 'succeeded', failure: null, gateResult: 'passed' });
    const envelope = await readBlob(workers.store, row.statementSha256 ?? '');
    const answer = await fetch(`${api.url}/api/v1/runs/${runId}/statement`, {
      headers: { authorization: `Bearer ${token}` },
    });
    expect(Buffer.from(await answer.arrayBuffer())).toEqual(envelope);
    const { payload, signatures } = JSON.parse(envelope.toString()) as {
      payload: string;
      signatures: Array<{ keyid: string }>;
    };
    const statement = JSON.parse(Buffer.from(payload, 'base64').toString()) as Record<string, never>;
    expect(statement).toMatchObject({
      _type: 'https://in-toto.io/Statement/v1',
      predicateType: 'https://slsa.dev/provenance/v1',
      predicate: {
        buildDefinition: {
          externalParameters: { project: 'proven', commit: row.commit, seed: row.seed },
          resolvedDependencies: expect.arrayContaining([
            { name: 'source.tar', digest: { gitCommit: row.commit, gitTree: row.tree, sha256: row.sourceSha256 } },
          ]) as unknown,
        },
        runDetails: {
          metadata: { invocationId: `${runId}.1` },
          byproducts: expect.arrayContaining([
            expect.objectContaining({ name: 'manifest.json', digest: { sha256: row.manifestSha256 } }),
            expect.objectContaining({ name: 'logs/train/1.log' }),
          ]) as unknown,
        },
      },
    });
    const { subject } = statement as unknown as { subject: Array<{ name: string }> };
    expect(subject.map(({ name }) => name)).toContain('artifacts/train/model/weights.bin');
    expect(subject.map(({ name }) => name)).not.toContain('artifacts/train/metrics.json');
    const keys = (await (await fetch(`${api.url}/api/v1/keys`)).json()) as { items: SigningKey[] };
    expect(keys.items.map(({ keyId }) => keyId)).toEqual([signatures[0]?.keyid]);
  });

  it('keeps statement and manifest when the step is repeated, also with another key', async () => {
    const before = await workers.load(runId);
    const count = () => workers.db.$count(runs, eq(runs.statementSha256, before.statementSha256 ?? ''));
    await persist(persistDeps(), { runId, execution: 1 });
    await persist(
      { ...persistDeps(), signer: createSigner(generateKeyPairSync('ed25519').privateKey) },
      { runId, execution: 1 },
    );
    expect(await workers.load(runId)).toMatchObject({
      manifestSha256: before.manifestSha256,
      statementSha256: before.statementSha256,
    });
    expect(await count()).toBe(1);
  });

  it('signs the same bytes again after a crash between effect and record', async () => {
    const before = await workers.load(runId);
    await workers.db.update(runs).set({ manifestSha256: null, statementSha256: null }).where(eq(runs.id, runId));
    await persist(persistDeps(), { runId, execution: 1 });
    expect((await workers.load(runId)).statementSha256).toBe(before.statementSha256);
  });

  it('has its statement pinned by a promotion', async () => {
    const [model] = await workers.db.select().from(models).where(eq(models.name, 'proven'));
    await promote(workers.db, { modelId: model?.id ?? '', version: 1, alias: 'production', by: 'ada', reason: null });
    const pinned = await workers.db.select().from(pins).where(eq(pins.what, 'statement'));
    expect(pinned.map(({ sha256 }) => sha256)).toEqual([(await workers.load(runId)).statementSha256]);
  });
});

describe('assay export', () => {
  it('writes the same bytes every time, and they hold without a server', async () => {
    const [first, second] = [await exported('first.tar'), await exported('second.tar')];
    expect((await readFile(first)).equals(await readFile(second))).toBe(true);
    expect((await assay(['export', runId, 'first.tar'], api.url)).notes).toContain('is there already');
    await writeFile(join(home, 'key.pem'), workers.signer.publicKey);
    const checked = await assay(['verify', 'first.tar', '--key', 'key.pem']);
    expect(checked).toMatchObject({ code: 0, notes: '' });
    expect(checked.out).toMatch(/^proven\/1: all \d+ files hold \(\d.*\), signed by [0-9a-f]{64}\.\n$/);
    expect(checked.out).toContain(workers.signer.keyId);
    const { stdout } = await run('tar', ['-tf', first]);
    for (const name of [
      'source.tar',
      'data/points.parquet',
      'data/pets/a cat.png',
      'data/pets.jsonl',
      'queries/points.sql',
    ])
      expect(stdout.split('\n')).toContain(name);
    expect((await run('tar', ['-xOf', first, 'logs/prepare/1.log', 'logs/prepare/2.log'])).stdout).toMatch(
      /^attempt 1\n[^]*AssertionError\nattempt 2\n$/,
    );
  });

  it('has files and logs of a run whose results were taken from another', async () => {
    const again = await submitAgain();
    await workers.finished(again);
    expect(
      (await workers.steps(again)).filter(({ kind, status }) => kind === 'stage' && status === 'reused'),
    ).toHaveLength(2);
    expect(await assay(['export', again, 'reused.tar'], api.url)).toMatchObject({ code: 0 });
    expect((await assay(['verify', 'reused.tar'])).code).toBe(0);
    const { stdout } = await run('tar', ['-tf', join(home, 'reused.tar')]);
    expect(stdout.split('\n')).toEqual(
      expect.arrayContaining(['logs/train/reused-1.log', 'artifacts/train/model/weights.bin']),
    );
  });

  it('is checked by the commands of its README, in an empty folder, by programs that everybody has', async () => {
    const bundle = await exported('readme.tar');
    const folder = join(home, 'unpacked');
    await mkdir(folder);
    await run('tar', ['-xf', bundle, '-C', folder]);
    const readme = await readFile(join(folder, 'README.md'), 'utf8');
    const [, commands = ''] = /```sh\n([^`]+)```/.exec(readme) ?? [];
    const env = { PATH: process.env.PATH ?? '', LC_ALL: 'C' };
    const good = await run('sh', ['-eu', '-c', commands], { cwd: folder, env });
    expect(good.stdout).toContain('Signature Verified Successfully');
    expect(good.stdout).toContain('manifest.json is the one that was signed');
    expect(good.stdout).toContain(`${workers.signer.keyId}  -`);
    await writeFile(join(folder, 'params.json'), '{}');
    await expect(run('sh', ['-eu', '-c', commands], { cwd: folder, env })).rejects.toMatchObject({
      stdout: expect.stringContaining('params.json: FAILED') as unknown,
    });
    await run('tar', ['-xf', bundle, '-C', folder]);
    await writeFile(join(folder, 'statement.pae'), 'DSSEv1 1 x 0 ');
    await expect(
      run('sh', ['-eu', '-c', commands.replace(/sha256sum --check.*/, '')], { cwd: folder, env }),
    ).rejects.toThrow();
  });

  it('leaves the data out when asked, says so inside, and holds', async () => {
    const bare = await exported('bare.tar', '--without-data');
    const { stdout } = await run('tar', ['-tf', bare]);
    expect(stdout).not.toMatch(/^data\/(points|pets\/)/m);
    expect((await run('tar', ['-xOf', bare, 'README.md'])).stdout).toContain('The data is left out');
    expect((await assay(['verify', 'bare.tar'])).out).toContain('Its data was left out.');
  });

  it('goes on where the connection broke, and leaves nothing half done under the name', async () => {
    const whole = await readFile(await exported('whole.tar'));
    const cutter = await cutAfter(200_000);
    const done = await assay(['export', runId, 'cut.tar'], cutter.url);
    expect(done).toMatchObject({ code: 0 });
    expect(done.notes).toMatch(/The connection broke after \d+ of \d+ bytes/);
    expect(cutter.ranges.filter((range) => range !== undefined).length).toBeGreaterThan(2);
    expect((await readFile(join(home, 'cut.tar'))).equals(whole)).toBe(true);
    cutter.server.close();
    expect((await readdir(home)).filter((name) => name.endsWith('.part'))).toEqual([]);
  });

  it('that is killed leaves a part from which the next call goes on, and never the file', async () => {
    const cutter = await cutAfter(300_000, 1);
    const failed = await assay(['export', runId, 'later.tar'], cutter.url);
    expect(failed.code).toBe(3);
    expect(failed.notes).toMatch(/the same command goes on from there/);
    cutter.server.close();
    const [part = ''] = (await readdir(home)).filter((name) => name.endsWith('.part'));
    expect(part).toMatch(/^later\.tar\.[0-9a-f]{16}\.part$/);
    expect(await stat(join(home, 'later.tar')).catch(() => null)).toBeNull();
    await exported('later.tar');
    expect((await assay(['verify', 'later.tar'])).code).toBe(0);
  });

  it('of a run without a statement says when there is one', async () => {
    const { projectId } = await workers.load(runId);
    const open = { id: newId(), projectId, number: 99, owner: 'ada', ref: 'main', asOf: '2026-01-01Z', overrides: {} };
    await workers.db.insert(runs).values(open);
    const refused = await assay(['export', open.id, 'none.tar'], api.url);
    expect(refused).toMatchObject({ code: 1, notes: expect.stringContaining('has no signed statement') as unknown });
  });

  it('is answered from any byte on, as long as it is still the same', async () => {
    const whole = await readFile(await exported('ranges.tar'));
    const ask = (headers: Record<string, string>) =>
      fetch(`${api.url}/api/v1/runs/${runId}/bundle`, { headers: { authorization: `Bearer ${token}`, ...headers } });
    const etag = (await ask({ range: 'bytes=0-0' })).headers.get('etag') ?? '';
    const headers = [...whole.toString('latin1').matchAll(/ustar/g)].map(({ index }) => index - 257);
    const starts = headers.slice(-8).flatMap((at) => [at - 1, at + 511, at + 512]);
    for (const start of [0, ...starts, whole.length - 1025, whole.length - 1]) {
      const end = Math.min(start + 700, whole.length - 1);
      const part = await ask({ range: `bytes=${start}-${end}`, 'if-range': etag });
      expect(part.status).toBe(206);
      const bytes = Buffer.from(await part.arrayBuffer());
      expect(bytes.equals(whole.subarray(start, end + 1)), `bytes ${start}-${end}`).toBe(true);
    }
    expect((await ask({ range: 'bytes=9-', 'if-range': '"other"' })).status).toBe(200);
    expect((await ask({ range: `bytes=${whole.length}-` })).status).toBe(416);
    expect((await ask({ 'if-none-match': etag })).status).toBe(304);
  });

  it('names the file whose bytes the server has lost, before it sends anything', async () => {
    const row = await workers.load(runId);
    const bytes = await readBlob(workers.store, row.sourceSha256 ?? '');
    await workers.store.delete(row.sourceSha256 ?? '');
    const refused = await assay(['export', runId, 'lost.tar'], api.url);
    await workers.store.put(bytes);
    expect(refused.code).toBe(1);
    expect(refused.notes).toContain('source.tar');
  });
});

describe('assay verify', () => {
  it('names what does not hold, one line each, and exits 1', async () => {
    const bytes = await readFile(await exported('flip.tar'));
    const at = bytes.indexOf('trained\n');
    bytes[at] = 0x54;
    bytes[bytes.length - 1] = 1;
    await writeFile(join(home, 'flip.tar'), bytes);
    const { code, out, notes } = await assay(['verify', 'flip.tar']);
    expect({ code, notes }).toMatchObject({ code: 1, notes: expect.stringContaining('do not hold') as unknown });
    const lines = out.trim().split('\n');
    expect(lines).toHaveLength(3);
    expect(lines[0]).toBe(`byte ${bytes.length - 1}: the archive's end is not empty`);
    expect(lines[1]).toMatch(/^"logs\/train\/1.log" has sha256/);
    const asJson = JSON.parse((await assay(['verify', 'flip.tar', '--json'])).out) as {
      holds: boolean;
      problems: string[];
    };
    expect(asJson).toMatchObject({ holds: false, problems: lines });
  });

  it('says whose signature it is when another was expected', async () => {
    await exported('other.tar');
    const { publicKey } = generateKeyPairSync('ed25519');
    const pem = publicKey.export({ type: 'spki', format: 'pem' });
    await writeFile(join(home, 'other.pem'), pem);
    const { code, out } = await assay(['verify', 'other.tar', '--key', 'other.pem']);
    expect(code).toBe(1);
    const other = keyIdOf(createPublicKey(pem));
    expect(out).toBe(`signed by ${workers.signer.keyId}, expected ${other}\n`);
  });

  it('of a file that is not there, a folder or no key is one line', async () => {
    await run('mkfifo', [join(home, 'pipe.tar')]);
    for (const words of [['nowhere.tar'], ['.'], ['pipe.tar'], ['other.tar', '--key', 'flip.tar']]) {
      const { code, out, notes } = await assay(['verify', ...words]);
      expect({ code, out }).toEqual({ code: 1, out: '' });
      expect(notes.split('\n')).toHaveLength(1);
    }
  });
});

describe('a key that was replaced by another file', () => {
  it('stays listed; what it signed is still exported and verified', async () => {
    const there = await mkdtemp(join(tmpdir(), 'assay-key-'));
    const path = join(there, 'signing.key');
    await run('openssl', ['genpkey', '-algorithm', 'ed25519', '-out', path]);
    await chmod(path, 0o600);
    const next = await openSigningKey(workers.db, path);
    const keys = (await (await fetch(`${api.url}/api/v1/keys`)).json()) as { items: SigningKey[] };
    expect(keys.items.map(({ keyId }) => keyId)).toEqual([next.keyId, workers.signer.keyId]);
    await exported('old-key.tar');
    expect((await assay(['verify', 'old-key.tar', '--key', 'key.pem'])).code).toBe(0);
    await rm(there, { recursive: true, force: true });
  });
});

/** A way to the API that cuts every answer of a bundle after so many bytes, `answersMax` answers long. */
async function cutAfter(sizeBytes: number, answersMax = Infinity) {
  const ranges: Array<string | undefined> = [];
  const server: Server = createServer((request, response) => {
    void (async () => {
      const isBundle = request.url?.includes('/bundle') === true;
      const { range, 'if-range': ifRange, authorization = '' } = request.headers;
      if (isBundle) ranges.push(range);
      if (ranges.length > answersMax) return response.destroy();
      const headers = { authorization, ...(range === undefined ? {} : { range, 'if-range': String(ifRange) }) };
      const answer = await fetch(new URL(request.url ?? '', api.url), { headers });
      const body = Buffer.from(await answer.arrayBuffer());
      response.writeHead(answer.status, Object.fromEntries(answer.headers));
      if (!isBundle || body.length <= sizeBytes) return response.end(body);
      response.write(body.subarray(0, sizeBytes), () => setImmediate(() => response.destroy()));
    })();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { server, ranges, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}
