import { appendFile, mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Run } from '#contract/runs.ts';
import { executions, runs } from '#db/schema/runs.ts';
import { commitAll, type CliServer, git, startCliServer } from './server.ts';

let server: CliServer;
let tiny: string;

beforeAll(async () => {
  server = await startCliServer();
  tiny = await server.checkout('tiny');
});
afterAll(() => server.close());

async function submitted(words: string[], cwd = tiny): Promise<Run> {
  const { code, out, notes } = await server.assay(['run', '--json', ...words], { cwd });
  expect(notes).toBe('');
  expect(code).toBe(0);
  const { id } = JSON.parse(out) as Run;
  return JSON.parse((await server.assay(['show', id, '--json'])).out) as Run;
}

describe('assay run', () => {
  it('creates the project, sends the commit and prints reference and link', async () => {
    const { code, out } = await server.assay(['run'], { cwd: tiny });
    expect(code).toBe(0);
    expect(out).toBe(`tiny/1\t${server.url}/api/v1/runs/tiny%2F1\n`);
    const run = JSON.parse((await server.assay(['show', '1', '--json'], { cwd: tiny })).out) as Run;
    expect(run).toMatchObject({ project: 'tiny', status: 'queued', branch: 'main', dirty: false });
    expect(run.commit).toBe(await git(tiny, 'rev-parse', 'HEAD'));
  });

  it('sends only what the server lacks', async () => {
    await writeFile(join(tiny, 'notes.md'), 'more\n');
    const commit = await commitAll(tiny, 'More');
    const run = await submitted([]);
    expect(run.commit).toBe(commit);
  });

  it('passes on what was asked for', async () => {
    const words = ['-P', 'ridge=2.5', '-S', 'test_share=0.5', '--name', 'ridge', '--tag', 'a', '--tag', 'b'];
    const more = ['--note', 'why', '--experiment', 'ridges', '--seed', '3', '--as-of', '2026-01-01', '--no-reuse'];
    expect(await submitted([...words, ...more])).toMatchObject({
      overrides: { ridge: 2.5, test_share: 0.5 },
      name: 'ridge',
      tags: ['a', 'b'],
      note: 'why',
      experiment: 'ridges',
      asOf: expect.stringContaining('2026-01-01T00:00:00') as string,
      reuse: false,
    });
  });

  it('runs single stages again, and refuses one that the project does not have', async () => {
    const again = await submitted(['--no-reuse=train', '-P', 'ridge=2.5']);
    expect(again).toMatchObject({ reuse: true, overrides: { ridge: 2.5 } });
    const { db } = server.api;
    const [row] = await db.select().from(executions).where(eq(executions.runId, again.id));
    expect(row?.rerun).toEqual(['train']);
    const { code, notes } = await server.assay(['run', '--no-reuse=tarin'], { cwd: tiny });
    expect(code).toBe(1);
    expect(notes).toContain('expected a stage of the project');
  });

  it('takes a command behind --, and assignments there as parameters', async () => {
    expect(await submitted(['--', 'python', 'train.py', '--fast'])).toMatchObject({
      command: ['python', 'train.py', '--fast'],
    });
    expect(await submitted(['--', 'ridge=4'])).toMatchObject({ command: null, overrides: { ridge: 4 } });
  });

  it('takes everything of another run but what is given', async () => {
    const run = await submitted(['--like', 'tiny/3', '-P', 'ridge=9'], server.home);
    expect(run).toMatchObject({ project: 'tiny', overrides: { ridge: 9, test_share: 0.5 }, experiment: 'ridges' });
  });

  it('submits an older commit by name', async () => {
    const first = await git(tiny, 'rev-parse', 'HEAD~1');
    expect((await submitted(['--ref', 'HEAD~1'])).commit).toBe(first);
  });
});

describe('a checkout with changes', () => {
  it('is refused with the names of the files', async () => {
    await appendFile(join(tiny, 'train.py'), '# changed\n');
    await writeFile(join(tiny, 'new.py'), '');
    const { code, notes } = await server.assay(['run'], { cwd: tiny });
    expect(code).toBe(1);
    expect(notes).toMatch(/--dirty[\s\S]*train\.py[\s\S]*new\.py/);
  });

  it('runs with --dirty as a commit of its own, keeps the patch and leaves the checkout alone', async () => {
    const before = await git(tiny, 'status', '--porcelain');
    const run = await submitted(['--dirty']);
    expect(run.dirty).toBe(true);
    expect(run.commit).not.toBe(await git(tiny, 'rev-parse', 'HEAD'));
    expect(await git(tiny, 'status', '--porcelain')).toBe(before);
    const [row] = await server.api.db.select().from(runs).where(eq(runs.id, run.id));
    expect(row?.patchSha256).toMatch(/^[0-9a-f]{64}$/);
    await git(tiny, 'checkout', '--quiet', '--', '.');
    await rm(join(tiny, 'new.py'));
  });

  it('may hold other untracked files, which are named', async () => {
    await writeFile(join(tiny, 'scratch.txt'), '');
    const { code, notes } = await server.assay(['run'], { cwd: tiny });
    expect(code).toBe(0);
    expect(notes).toContain('Not part of the run, because no commit holds them: scratch.txt');
    await rm(join(tiny, 'scratch.txt'));
  });
});

describe('a checkout that cannot be run', () => {
  it('outside git is refused with what to do', async () => {
    const { code, notes } = await server.assay(['run'], { cwd: server.home });
    expect(code).toBe(1);
    expect(notes).toContain('git init');
  });

  it('with mistakes in assay.yaml is refused with all of them at once', async () => {
    const dir = await server.checkout('tiny', 'broken');
    await writeFile(join(dir, 'assay.yaml'), 'project: broken\nstages:\n  train: { comand: x, timeout: soon }\n');
    await commitAll(dir, 'Break it');
    const { code, notes } = await server.assay(['run'], { cwd: dir });
    expect(code).toBe(1);
    expect(notes).toMatch(/assay\.yaml:3 stages\.train\.comand.*"command"[\s\S]*assay\.yaml:3 stages\.train\.timeout/);
  });

  it('below the root of its checkout is refused, so that no other project runs', async () => {
    const dir = await server.checkout('tiny', 'outer');
    await mkdir(join(dir, 'inner'));
    await writeFile(join(dir, 'inner', 'assay.yaml'), 'project: inner\n');
    const { code, notes } = await server.assay(['run'], { cwd: join(dir, 'inner') });
    expect(code).toBe(1);
    expect(notes).toMatch(/inner\/assay\.yaml is not at the root of its checkout/);
  });
});

describe('data that git ignores', () => {
  it('and that the code names is named with the command that adds it', async () => {
    const dir = await server.checkout('tiny', 'pets');
    await mkdir(join(dir, 'images', 'cats'), { recursive: true });
    await writeFile(join(dir, 'images', 'cats', 'a.png'), 'x');
    await appendFile(join(dir, '.gitignore'), 'images/\n');
    await appendFile(join(dir, 'train.py'), 'IMAGES = Path("images/cats")\n');
    await commitAll(dir, 'Read images');
    const { code, notes } = await server.assay(['run'], { cwd: dir });
    expect(code).toBe(0);
    expect(notes).toContain('images/cats is ignored by git and not part of the run, but train.py:');
    expect(notes).toContain('assay data add cats images/cats');

    const data = 'data: { images: { dataset: cats, to: images } }\n';
    await appendFile(join(dir, 'assay.yaml'), data);
    await commitAll(dir, 'Get images from the lake');
    expect((await server.assay(['run'], { cwd: dir })).notes).not.toContain('ignored by git');
  });
});
