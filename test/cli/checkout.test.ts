import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { createBundle as bundleOf, createPatch, ignoredPaths, readCheckout, recentCommits } from '#cli/checkout.ts';
import { createMirrors } from '#git/mirror.ts';

const bases: string[] = [];
let base: string;
let dir: string;

function git(...args: string[]): string {
  const identity = ['-c', 'user.name=Ada', '-c', 'user.email=ada@example.org'];
  return execFileSync('git', ['-C', dir, ...identity, ...args], { encoding: 'utf8', stdio: 'pipe' }).trim();
}

async function write(path: string, content: string | Buffer): Promise<void> {
  await mkdir(dirname(join(dir, path)), { recursive: true });
  await writeFile(join(dir, path), content);
}

beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), 'assay-test-checkout-'));
  bases.push(base);
  dir = join(base, 'repository');
  await mkdir(dir);
  git('init', '--quiet', '--initial-branch=main');
  await write('train.py', 'one\n');
  await write('lib/a b.py', 'two\n');
  await write('.gitignore', 'data/\n*.ckpt\n');
  git('add', '--all');
  git('commit', '--quiet', '-m', 'first');
});

afterAll(() => Promise.all(bases.map((one) => rm(one, { recursive: true, force: true }))));

async function createBundle(...asked: Parameters<typeof bundleOf>): Promise<string> {
  const file = await bundleOf(...asked);
  bases.push(dirname(file));
  return file;
}

function openMirrors() {
  const limits = { sizeBytesMax: 64 * 1024 ** 2, filesMax: 1_000, timeoutMs: 30_000 };
  return createMirrors({ rootDir: join(base, 'mirrors'), limits, allowPrivateRemotes: false });
}

describe('a checkout', () => {
  test('is read from any folder inside it', async () => {
    expect(await readCheckout(join(dir, 'lib'))).toEqual({
      root: git('rev-parse', '--show-toplevel'),
      commit: git('rev-parse', 'HEAD'),
      branch: 'main',
      remote: null,
      dirty: [],
      untracked: [],
      isShallow: false,
    });
  });

  test('names its remote without the login kept in it', async () => {
    git('remote', 'add', 'origin', 'https://user:canary@github.com/team/repo.git');
    expect((await readCheckout(dir)).remote).toBe('https://github.com/team/repo.git');
    git('remote', 'set-url', 'origin', 'git@github.com:team/repo.git');
    expect((await readCheckout(dir)).remote).toBe('git@github.com:team/repo.git');
  });

  test('names every changed, renamed, deleted and untracked file', async () => {
    await write('train.py', 'changed\n');
    await write('new dir/ünï "x".py', 'x');
    git('mv', 'lib/a b.py', 'lib/moved.py');
    const { dirty, untracked } = await readCheckout(dir);
    expect(dirty).toEqual([
      { status: 'R.', path: 'lib/moved.py' },
      { status: '.M', path: 'train.py' },
    ]);
    expect(untracked).toEqual(['new dir/ünï "x".py']);
  });

  test('may be on no branch', async () => {
    git('checkout', '--quiet', '--detach');
    expect((await readCheckout(dir)).branch).toBeNull();
  });

  test('says which needed paths no commit will carry', async () => {
    expect(await ignoredPaths(dir, ['data/train.csv', 'train.py', 'best.ckpt'])).toEqual([
      'data/train.csv',
      'best.ckpt',
    ]);
    expect(await ignoredPaths(dir, ['train.py'])).toEqual([]);
    expect(await ignoredPaths(dir, [])).toEqual([]);
  });

  test('must be one, and have a commit', async () => {
    await expect(readCheckout(base)).rejects.toMatchObject({ code: 'source-refused' });
    dir = join(base, 'empty');
    await mkdir(dir);
    git('init', '--quiet');
    await expect(readCheckout(dir)).rejects.toMatchObject({ code: 'source-refused' });
  });
});

describe('a bundle', () => {
  test('brings a commit to the server and leaves no trace in the checkout', async () => {
    const before = git('for-each-ref') + git('count-objects');
    const { commit } = await readCheckout(dir);
    const mirrors = openMirrors();
    const bundle = await createBundle(dir, commit, []);
    expect(await mirrors.ingestBundle('p1', bundle, commit)).toMatchObject({ commit });
    await rm(dirname(bundle), { recursive: true });
    expect(git('for-each-ref') + git('count-objects')).toBe(before);
  });

  test('carries only what the server lacks', async () => {
    const mirrors = openMirrors();
    await write('large.bin', Buffer.from(Array.from({ length: 200_000 }, (_, n) => (n * 7919) % 251)));
    git('add', '--all');
    git('commit', '--quiet', '-m', 'large');
    const first = git('rev-parse', 'HEAD');
    await mirrors.ingestBundle('p1', await createBundle(dir, first, []), first);
    await write('train.py', 'next\n');
    git('commit', '--quiet', '-am', 'next');
    const next = git('rev-parse', 'HEAD');
    const have = await mirrors.hasCommits('p1', await recentCommits(dir, 100));
    expect(have).toContain(first);
    const bundle = await createBundle(dir, next, have);
    expect((await readFile(bundle)).length).toBeLessThan(2_000);
    expect(await mirrors.ingestBundle('p1', bundle, next)).toMatchObject({ commit: next });
  });

  test('of a shallow clone is refused with the command that helps', async () => {
    git('commit', '--quiet', '--allow-empty', '-m', 'second');
    const from = dir;
    dir = join(base, 'shallow');
    execFileSync('git', ['clone', '--quiet', '--depth=1', `file://${from}`, dir], { stdio: 'pipe' });
    const checkout = await readCheckout(dir);
    expect(checkout.isShallow).toBe(true);
    await expect(createBundle(dir, checkout.commit, [])).rejects.toMatchObject({
      code: 'source-refused',
      message: expect.stringContaining('--unshallow'),
    });
  });
});

describe('a dirty tree', () => {
  async function makeDirty(): Promise<void> {
    await write('train.py', 'changed\n');
    await write('sub/new.bin', Buffer.from([0, 1, 2, 255, 0]));
    await write('data/ignored.csv', 'never sent');
    await symlink('train.py', join(dir, 'link'));
    await rm(join(dir, 'lib/a b.py'));
    await write('staged.txt', 'staged');
    git('add', 'staged.txt');
  }

  test('becomes a commit on top of HEAD and a patch, and stays as it is', async () => {
    await makeDirty();
    const state = () =>
      git('status', '--porcelain') + git('for-each-ref') + git('count-objects') + git('ls-files', '-s');
    const before = state();
    const tree = await createPatch(dir);
    expect(state()).toBe(before);
    const mirrors = openMirrors();
    await mirrors.ingestBundle('p1', await createBundle(dir, tree.commit, [], tree.objectDir), tree.commit);
    const paths = (await mirrors.listTree('p1', tree.commit)).map((entry) => entry.path);
    expect(paths).toEqual(['.gitignore', 'link', 'staged.txt', 'sub/new.bin', 'train.py']);
    expect(await mirrors.readFile('p1', tree.commit, 'sub/new.bin', 100)).toEqual(Buffer.from([0, 1, 2, 255, 0]));
    await tree.remove();
  });

  test('gives a patch that makes the same tree from HEAD', async () => {
    await makeDirty();
    const tree = await createPatch(dir);
    const from = dir;
    dir = join(base, 'clone');
    execFileSync('git', ['clone', '--quiet', from, dir], { stdio: 'pipe' });
    execFileSync('git', ['-C', dir, 'apply', '--index'], { input: tree.patch });
    expect(await readFile(join(dir, 'sub/new.bin'))).toEqual(Buffer.from([0, 1, 2, 255, 0]));
    expect(git('diff', '--cached', '--name-only').split('\n')).toEqual([
      'lib/a b.py',
      'link',
      'staged.txt',
      'sub/new.bin',
      'train.py',
    ]);
    await tree.remove();
  });

  test('gives the same commit for the same files', async () => {
    await makeDirty();
    const one = await createPatch(dir);
    const other = await createPatch(join(dir, 'sub'));
    expect(other.commit).toBe(one.commit);
    await write('train.py', 'changed again\n');
    const third = await createPatch(dir);
    expect(third.commit).not.toBe(one.commit);
    await Promise.all([one, other, third].map((tree) => tree.remove()));
  });
});
