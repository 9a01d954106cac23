import { createHash } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Run, RunSummary } from '#contract/runs.ts';
import { executions, runs } from '#db/schema/runs.ts';
import { insertArtifact, insertLog, insertRun, insertVersion } from '#test/api/fixtures.ts';
import { type CliServer, startCliServer } from './server.ts';

let server: CliServer;
let project: { id: string; name: string };

beforeAll(async () => {
  server = await startCliServer();
  project = await server.api.project('digits');
});
afterAll(() => server.close());

async function insert(wish: Parameters<typeof insertRun>[2] = {}): Promise<{ id: string; label: string }> {
  const id = await insertRun(server.api, project.id, wish);
  const [row] = await server.api.db.select().from(runs).where(eq(runs.id, id));
  return { id, label: `digits/${row?.number}` };
}

describe('assay ls', () => {
  it('is one tab-separated line per run in a pipe, and a table on a terminal', async () => {
    const { label } = await insert({ values: { name: 'baseline' } });
    const piped = await server.assay(['ls', '--project', 'digits']);
    expect(piped.out.split('\n')[0]?.split('\t').slice(0, 4)).toEqual([label, 'succeeded', 'passed', 'baseline']);
    const shown = await server.assay(['ls', '--project', 'digits'], { isTerminal: true });
    expect(shown.out).toMatch(/^RUN +STATUS +GATE +NAME/);
  });

  it('filters, sorts and limits as the API does', async () => {
    const { label } = await insert({ metrics: { accuracy: 0.99 } });
    await insert({ metrics: { accuracy: 0.5 } });
    const words = ['ls', '--filter', 'metrics.accuracy > 0.4', '--sort', 'metrics.accuracy desc', '-n', '1', '--json'];
    const { items, nextCursor } = JSON.parse((await server.assay(words)).out) as {
      items: RunSummary[];
      nextCursor: string;
    };
    expect(items.map((run) => run.label)).toEqual([label]);
    expect(nextCursor).not.toBeNull();
  });

  it('shows a wrong filter as the server explains it', async () => {
    const { code, notes } = await server.assay(['ls', '--filter', 'metrics.accuracy >']);
    expect(code).toBe(1);
    expect(notes).toMatch(/expected/);
  });
});

describe('assay show', () => {
  it('tells of a failed run what happened, with its last lines and its way on', async () => {
    const failure = {
      class: 'user',
      sentence: 'train exited with code 1.',
      step: 'train',
      logTail: ['Traceback', 'ValueError: no'],
      exitCode: 1,
    } as const;
    const values = { failure: { ...failure, logTail: [...failure.logTail] }, gateResult: null, gateReport: null };
    const { label } = await insert({ status: 'failed', values });
    const { code, out } = await server.assay(['show', label], { isTerminal: true });
    expect(code).toBe(0);
    expect(out).toContain(`${label} failed`);
    expect(out).toMatch(/train: train exited with code 1\.\n {2}│ Traceback\n {2}│ ValueError: no\n {2}assay logs/);
    expect(out).toContain(`assay resume ${label}`);
  });

  it('has parameters, metrics, gate and the machine', async () => {
    const gateReport = {
      result: 'failed',
      champion: null,
      rules: [
        {
          rule: 'accuracy >= 0.95',
          passed: false,
          value: 0.9,
          threshold: 0.95,
          stage: 'train',
          note: 'accuracy is 0.9.',
        },
      ],
    };
    const values = { params: { lr: 0.1, deep: { layers: 2 } }, overrides: { lr: 0.1 }, gateReport };
    const { label } = await insert({ gateResult: 'failed', metrics: { accuracy: 0.9 }, values });
    const { out } = await server.assay(['show', label], { isTerminal: true });
    expect(out).toMatch(/accuracy >= 0\.95 +failed +0\.9 +accuracy is 0\.9\./);
    expect(out).toMatch(/deep\.layers +2/);
    expect(out).toMatch(/lr +0\.1 +given/);
    expect(out).toMatch(/accuracy +train +0\.9/);
    expect(out).toMatch(/hardware +AMD EPYC, 16 CPUs, avx2, 64 GiB\n/);
  });

  it('of a run that is not there names it and fails', async () => {
    const { code, notes } = await server.assay(['show', 'digits/99999']);
    expect(code).toBe(1);
    expect(notes).toContain('digits/99999');
  });
});

describe('assay logs', () => {
  it('prints what a stage printed, byte for byte', async () => {
    const { id, label } = await insert();
    await insertLog(server.api, id, 'epoch 1\népoque 2\n');
    const { out } = await server.assay(['logs', label, 'train']);
    expect(out).toBe('epoch 1\népoque 2\n');
  });

  it('followed ends with the run', async () => {
    const { id, label } = await insert();
    await insertLog(server.api, id, 'done\n');
    const { code, out } = await server.assay(['logs', '-f', label]);
    expect(code).toBe(0);
    expect(out).toContain('==> train (attempt 1) <==\ndone\n');
  });
});

describe('cancel, resume and resolve', () => {
  it('cancel a queued run at once', async () => {
    const { label } = await insert({ status: 'queued', values: { gateResult: null } });
    expect(await server.assay(['cancel', label])).toMatchObject({ code: 0, out: `${label}\tcancelled\n` });
    expect((await server.assay(['cancel', label])).code).toBe(1);
  });

  it('resume a failed run as a new execution, with the plan first', async () => {
    const { id, label } = await insert({ status: 'failed', values: { gateResult: null } });
    const plan = 'build-environment: will run, because it has not run yet\n';
    expect(await server.assay(['resume', label, '--plan'])).toMatchObject({ code: 0, out: plan });
    expect(await server.assay(['resume', label])).toMatchObject({ code: 0, out: `${plan}${label}\tqueued\n` });
    expect(await server.api.db.select().from(executions).where(eq(executions.runId, id))).toHaveLength(2);
  });

  it('resolve only a run that needs attention, and only in two ways', async () => {
    const { label } = await insert();
    expect((await server.assay(['resolve', label, 'retry'])).code).toBe(1);
    const { code, notes } = await server.assay(['resolve', label, 'retyr']);
    expect(code).toBe(1);
    expect(notes).toMatch(/Allowed choices are retry, abort/);
  });
});

describe('assay run --wait', () => {
  it('tells the progress in lines and exits with the result of the gate', async () => {
    const tiny = await server.checkout('tiny');
    const waiting = server.assay(['run', '--wait'], { cwd: tiny });
    const find = async () => {
      const { items } = JSON.parse((await server.assay(['ls', '--json'])).out) as { items: RunSummary[] };
      return items.find(({ project: name }) => name === 'tiny');
    };
    await expect.poll(find, { timeout: 10_000 }).toBeDefined();
    const run = await find();
    const ended = { status: 'succeeded', gateResult: 'failed', finishedAt: new Date() } as const;
    await server.api.db
      .update(executions)
      .set({ status: 'succeeded' })
      .where(eq(executions.runId, run?.id ?? ''));
    await server.api.db
      .update(runs)
      .set(ended)
      .where(eq(runs.id, run?.id ?? ''));
    const { code, out, notes } = await waiting;
    expect(code).toBe(1);
    expect(out).toBe(`tiny/1\tsucceeded\tfailed\n`);
    expect(notes).toContain(`tiny/1  ${server.url}/api/v1/runs/tiny%2F1`);
  });
});

describe('assay download', () => {
  it('fetches all files, each checked, and a second time none', async () => {
    const { id, label } = await insert();
    const sha256 = await insertArtifact(server.api, id, 'model/a.bin', Buffer.from('abc'));
    await insertArtifact(server.api, id, 'metrics.json', Buffer.from('{}'));
    const first = await server.assay(['download', label, '-o', 'got']);
    expect(first).toMatchObject({ code: 0, out: `${join(server.home, 'got')}\n` });
    const bytes = await readFile(join(server.home, 'got', 'model', 'a.bin'));
    expect(createHash('sha256').update(bytes).digest('hex')).toBe(sha256);
    expect((await server.assay(['download', label, '-o', 'got'])).notes).not.toContain('fetched');
  });

  it('takes files and folders, and names what is there when one is not', async () => {
    const { id, label } = await insert();
    await insertArtifact(server.api, id, 'model/a.bin', Buffer.from('abc'));
    await insertArtifact(server.api, id, 'metrics.json', Buffer.from('{}'));
    expect((await server.assay(['download', label, 'model', '-o', 'part'])).notes).toMatch(
      /^fetched {2}model\/a\.bin[^\n]*$/,
    );
    const { code, notes } = await server.assay(['download', label, 'metric.json']);
    expect(code).toBe(1);
    expect(notes).toContain('Did you mean "metrics.json"?');
  });
});

describe('models', () => {
  it('are listed, shown and promoted, once the expected champion is right', async () => {
    const { version } = await insertVersion(server.api, project.id);
    expect(await server.assay(['promote', 'digits', String(version), '--expect', '7', '--reason', 'x'])).toMatchObject({
      code: 1,
    });
    const done = await server.assay(['promote', 'digits', String(version), '--expect', 'none', '--reason', 'first']);
    expect(done).toMatchObject({ code: 0, out: `digits production → version ${version}\n` });
    expect((await server.assay(['models'])).out).toBe(`digits\tdigits\t${version}\tproduction=${version}\n`);
    expect((await server.assay(['models', 'digits'])).out).toContain('\tproduction\n');
    expect((await server.assay(['models', 'digits'], { isTerminal: true })).out).toMatch(
      /Promotions\n.*\n.*none → 1.*first/,
    );
  });
});

describe('secrets', () => {
  it('are read from a pipe, listed without values and removed', async () => {
    const set = await server.assay(['secret', 'set', 'HF_TOKEN', '--project', 'digits'], { input: 'hf_very_secret\n' });
    expect(set).toMatchObject({ code: 0, out: 'HF_TOKEN of digits is set (version 1)\n' });
    const listed = await server.assay(['secret', 'ls', '--project', 'digits', '--json']);
    expect(listed.out).toContain('HF_TOKEN');
    expect(listed.out + set.notes).not.toContain('hf_very_secret');
    expect((await server.assay(['secret', 'rm', 'HF_TOKEN', '--project', 'digits'])).code).toBe(0);
    expect((await server.assay(['secret', 'ls', '--project', 'digits'])).out).toBe('');
  });

  it('without a value are refused', async () => {
    expect((await server.assay(['secret', 'set', 'HF_TOKEN', '--project', 'digits'])).code).toBe(1);
  });
});

describe('logging in', () => {
  const fresh = { ASSAY_URL: undefined, ASSAY_TOKEN: undefined };

  it('checks the token, remembers it and needs no variables afterwards', async () => {
    const env = { ...fresh, HOME: join(server.home, 'ann') };
    const input = `${server.api.tokens.observer}\n`;
    const { code, out } = await server.assay(['login', server.url], { env, input });
    expect(code).toBe(0);
    expect(out).toContain('observer@example.org (observer)');
    expect((await server.assay(['ls'], { env })).code).toBe(0);
  });

  it('with a wrong token fails as "not logged in" and remembers nothing', async () => {
    const env = { ...fresh, HOME: join(server.home, 'bob') };
    expect((await server.assay(['login', server.url], { env, input: 'assay_wrong' })).code).toBe(4);
    expect((await server.assay(['ls'], { env })).code).toBe(4);
  });

  it('is asked for by every command when nothing is known', async () => {
    const env = { ...fresh, HOME: join(server.home, 'nobody') };
    const { code, notes } = await server.assay(['show', 'digits/1'], { env });
    expect(code).toBe(4);
    expect(notes).toContain('assay login');
  });

  it('tells a server that is not there apart', async () => {
    const { code, notes } = await server.assay(['ls'], { env: { ASSAY_URL: 'http://127.0.0.1:9' } });
    expect(code).toBe(3);
    expect(notes).toContain('npm start');
  });

  it('does not help a role that may not', async () => {
    const { code, notes } = await server.assay(['cancel', 'digits/1000'], {
      env: { ASSAY_TOKEN: server.api.tokens.business },
    });
    expect(code).toBe(1);
    expect(notes).toMatch(/business/);
  });
});

describe('projects, tokens, nodes and doctor', () => {
  it('list and change projects', async () => {
    expect((await server.assay(['projects', 'create', 'pets'])).out).toBe('pets is created\n');
    expect((await server.assay(['projects', 'set', 'pets', '--branch', 'dev'])).out).toBe(
      'pets: branch dev, remote none\n',
    );
    expect((await server.assay(['projects'])).out).toContain('pets\t0\tdev\t\t');
  });

  it('issue a token that works until it is revoked', async () => {
    const operator = { ASSAY_TOKEN: server.api.tokens.platform };
    const created = await server.assay(['tokens', 'create', 'ci', '--role', 'observer', '--json'], { env: operator });
    const { token, id } = JSON.parse(created.out) as { token: string; id: string };
    expect((await server.assay(['ls'], { env: { ASSAY_TOKEN: token } })).code).toBe(0);
    expect((await server.assay(['tokens', 'revoke', id], { env: operator })).code).toBe(0);
    expect((await server.assay(['ls'], { env: { ASSAY_TOKEN: token } })).code).toBe(4);
    expect((await server.assay(['tokens'], { env: operator })).out).toMatch(new RegExp(`${id}\tci\t.*\trevoked`));
  });

  it('list no nodes where none is registered', async () => {
    expect(await server.assay(['nodes'], { env: { ASSAY_TOKEN: server.api.tokens.platform } })).toMatchObject({
      code: 0,
      out: '',
    });
  });

  it('say what this machine has and who the token is', async () => {
    const { out } = await server.assay(['doctor']);
    expect(out).toMatch(/^node\tok\t/m);
    expect(out).toMatch(/^git\tok\t/m);
    expect(out).toMatch(/^token\tok\tml@example\.org \(ml\), from ASSAY_TOKEN/m);
    expect(out).not.toContain(server.api.tokens.ml);
  });

  it('fail as doctor when no server answers', async () => {
    const { code, out } = await server.assay(['doctor', '--json'], { env: { ASSAY_URL: 'http://127.0.0.1:9' } });
    expect(code).toBe(1);
    expect(JSON.parse(out)).toMatchObject({
      checks: expect.arrayContaining([expect.objectContaining({ what: 'server', state: 'missing' })]) as unknown,
    });
  });
});

describe('datasets', () => {
  it('are added with only the files the server lacks', async () => {
    const dir = join(server.home, 'pets-data');
    await mkdir(join(dir, 'cats'), { recursive: true });
    await writeFile(join(dir, 'cats', 'a.txt'), 'a');
    await writeFile(join(dir, 'b.txt'), 'b');
    const first = await server.assay(['data', 'add', 'pets', 'pets-data']);
    expect(first).toMatchObject({ code: 0, out: 'pets version 1: 2 files, 2 B\n' });
    await writeFile(join(dir, 'c.txt'), 'c');
    const second = await server.assay(['data', 'add', 'pets', 'pets-data']);
    expect(second.out).toBe('pets version 2: 3 files, 3 B\n');
    expect(second.notes).toContain('Sent 1 file; the server had the others.');
    expect((await server.assay(['data', 'show', 'pets', '--version', '1'])).out).toMatch(/^b\.txt\t1\t/);
    expect((await server.assay(['data', 'ls'])).out).toMatch(/^pets\t2\t3\t3 B\t/);
  });
});

describe('the lake', () => {
  it('takes a file, shows it and answers queries', async () => {
    await writeFile(join(server.home, 'points.csv'), 'x,y\n1,a\n2,b\n3,c\n');
    const appended = await server.assay(['lake', 'append', 'points', 'points.csv']);
    expect(appended.out).toMatch(/^points: 3 rows appended as commit 1 at /);
    expect((await server.assay(['lake'])).out).toMatch(/^points\t3\t/);
    expect((await server.assay(['lake', 'preview', 'points', '-n', '2'])).out.split('\n')).toHaveLength(4);
    const { out } = await server.assay([
      'lake',
      'query',
      'SELECT y FROM points WHERE x >= $least ORDER BY x',
      '-P',
      'least=2',
    ]);
    expect(out).toBe('y\nb\nc\n');
    await server.assay(['lake', 'query', 'SELECT * FROM points ORDER BY x', '-o', 'all.csv']);
    expect(await readFile(join(server.home, 'all.csv'), 'utf8')).toContain('3,c');
    expect((await server.assay(['lake', 'query', 'DELETE FROM points'])).code).toBe(1);
  });

  it('is asked by lint about every query', async () => {
    const dir = await server.checkout('digits');
    await server.assay(['lake', 'append', 'digits', join(dir, 'data', 'digits.csv')]);
    expect(await server.assay(['lint'], { cwd: dir })).toMatchObject({ code: 0, out: '' });
    await writeFile(join(dir, 'data', 'train.sql'), 'SELECT nothing FROM nowhere');
    const { code, out } = await server.assay(['lint'], { cwd: dir });
    expect(code).toBe(1);
    expect(out).toMatch(/^data\/train\.sql error: .*nowhere/);
  });
});

describe('assay lint', () => {
  it('names requirement files, datasets and secrets that a run would miss', async () => {
    const dir = await server.checkout('tiny', 'needy');
    const file = await readFile(join(dir, 'assay.yaml'), 'utf8');
    await writeFile(
      join(dir, 'assay.yaml'),
      `${file}secrets: [HF_TOKEN]\ndata: { pets: { dataset: petz, to: pets } }\n`,
    );
    await writeFile(join(dir, 'environment.yml'), 'dependencies: [numpy]\n');
    const { code, out } = await server.assay(['lint'], { cwd: dir });
    expect(code).toBe(1);
    expect(out.trim().split('\n')).toEqual([
      expect.stringMatching(/^environment\.yml error: found a conda environment; .*conda env create/),
      expect.stringMatching(/^data\.pets\.dataset error: There is no dataset "petz"/),
      expect.stringMatching(/^secrets\.HF_TOKEN warning: .*assay secret set HF_TOKEN/),
    ]);
  });
});

it('answers with the JSON of the API', async () => {
  const { id, label } = await insert();
  const shown = JSON.parse((await server.assay(['show', label, '--json'])).out) as Run;
  expect(shown).toMatchObject({ id, label, metrics: [], data: [] });
});
