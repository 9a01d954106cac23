import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { lstat, mkdir, readFile, readlink, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  createRepository,
  openMirrors,
  removeTemporary,
  roomy,
  temporaryDir,
  type TestMirrors,
  type TestRepository,
  treeEntry,
  writeProject,
} from './repositories.ts';

const project = 'p1';

afterAll(removeTemporary);

async function taken(repository: TestRepository, commit: string, limits = roomy): Promise<TestMirrors> {
  const mirrors = await openMirrors({ limits });
  await mirrors.ingestBundle(project, await repository.bundle({ tips: [commit] }), commit);
  return mirrors;
}

function point(mirrors: TestMirrors, ref: string, commit: string): void {
  execFileSync('git', ['--git-dir', join(mirrors.rootDir, `${project}.git`), 'update-ref', ref, commit]);
}

describe('resolving a reference', () => {
  let repository: TestRepository;
  let mirrors: TestMirrors;
  let first: string;
  let second: string;

  beforeAll(async () => {
    repository = await createRepository();
    await writeProject(repository);
    first = repository.commit('first line\n\nthe rest');
    second = repository.commit('\u001b[31mred\u202e\u0007 message');
    mirrors = await taken(repository, second);
    point(mirrors, 'refs/heads/main', second);
    point(mirrors, 'refs/heads/feature/deeper', first);
    point(mirrors, 'refs/tags/v1', first);
    point(mirrors, 'refs/tags/both', first);
    point(mirrors, 'refs/heads/both', second);
    point(mirrors, `refs/heads/${first.slice(0, 8)}`, second);
    point(mirrors, `refs/heads/${first}`, second);
  });

  test('says who made the commit, when and why', async () => {
    expect(await mirrors.resolve(project, 'feature/deeper')).toEqual({
      commit: first,
      tree: repository.git(['rev-parse', `${first}^{tree}`]),
      branch: 'feature/deeper',
      authorName: 'Ada Lovelace',
      authorEmail: 'ada@example.org',
      message: 'first line',
      committedAt: '2024-05-01T08:00:00.000Z',
    });
  });

  test('strips from the message what a terminal would act on', async () => {
    expect((await mirrors.resolve(project, 'main')).message).toBe('[31mred message');
  });

  test('takes branches, tags, full names, full and abbreviated hashes', async () => {
    expect((await mirrors.resolve(project, 'v1')).commit).toBe(first);
    expect((await mirrors.resolve(project, 'refs/heads/main')).commit).toBe(second);
    expect((await mirrors.resolve(project, 'refs/tags/v1')).commit).toBe(first);
    expect((await mirrors.resolve(project, second.slice(0, 10).toUpperCase())).commit).toBe(second);
  });

  test('reads a full hash as a commit even when a branch has that name', async () => {
    expect(await mirrors.resolve(project, first)).toMatchObject({ commit: first, branch: null });
  });

  test('refuses a word with two meanings and names both', async () => {
    for (const word of ['both', first.slice(0, 8)]) {
      await expect(mirrors.resolve(project, word)).rejects.toMatchObject({
        code: 'invalid-reference',
        message: expect.stringMatching(new RegExp(`${second}.*${first}|${first}.*${second}`)),
      });
    }
  });

  test('names the nearest branches when nothing is found', async () => {
    await expect(mirrors.resolve(project, 'origin/mian')).rejects.toMatchObject({
      code: 'commit-not-found',
      message: expect.stringContaining('main'),
    });
  });

  test('does not read a word as an expression or as the description of a commit', async () => {
    for (const word of [`anything-g${first.slice(0, 10)}`, 'heads/main', 'FETCH_HEAD', 'ORIG_HEAD', 'config']) {
      await expect(mirrors.resolve(project, word)).rejects.toMatchObject({ code: 'commit-not-found' });
    }
  });

  test('does not take a file or a tree for a commit', async () => {
    const tree = repository.git(['rev-parse', `${first}^{tree}`]);
    await expect(mirrors.resolve(project, tree)).rejects.toMatchObject({ code: 'commit-not-found' });
    await expect(mirrors.resolve(project, tree.slice(0, 12))).rejects.toMatchObject({ code: 'commit-not-found' });
    await expect(mirrors.resolve(project, '0'.repeat(40))).rejects.toMatchObject({ code: 'commit-not-found' });
    await expect(mirrors.resolve(project, 'a'.repeat(64))).rejects.toMatchObject({ code: 'commit-not-found' });
  });

  test('finds nothing in a project without commits', async () => {
    for (const word of ['HEAD', 'main', first]) {
      await expect(mirrors.resolve('empty', word)).rejects.toMatchObject({ code: 'commit-not-found' });
    }
    await expect(mirrors.listTree('empty', first)).rejects.toMatchObject({ code: 'commit-not-found' });
  });

  test('answers which commits a bundle may build on', async () => {
    const tree = repository.git(['rev-parse', `${first}^{tree}`]);
    expect(await mirrors.hasCommits(project, [first, 'a'.repeat(40), tree, second])).toEqual([first, second]);
    expect(await mirrors.hasCommits(project, [])).toEqual([]);
    await expect(mirrors.hasCommits(project, ['main'])).rejects.toMatchObject({ code: 'invalid-reference' });
  });

  test('keeps a pinned commit by a reference of its own', async () => {
    await mirrors.pin(project, first);
    expect(mirrors.refs(project)).toContain(`refs/assay/commits/${first} ${first}`);
  });

  test('never makes a path of a project id', async () => {
    for (const id of ['../x', 'a/b', '', '-x', 'x'.repeat(65)])
      await expect(mirrors.ensure(id)).rejects.toThrow(/made by the server/);
  });
});

describe('a tree', () => {
  let repository: TestRepository;
  let mirrors: TestMirrors;
  let commit: string;

  beforeAll(async () => {
    repository = await createRepository();
    await writeProject(repository);
    await repository.write(
      '.gitattributes',
      '* text eol=crlf ident export-subst\nlib export-ignore\n*.bin filter=lfs\n',
    );
    await repository.write('id.txt', '$Id$ $Format:%H$\nline\n');
    await repository.write('run.sh', '#!/bin/sh\n');
    await repository.write('big.bin', Buffer.alloc(3 * 1024 ** 2, 7));
    await repository.write('empty', '');
    await repository.write('new\nline and "quotes"', 'x');
    await repository.write(`${'deep/'.repeat(40)}file`, 'deep');
    await repository.write('Case.txt', 'upper');
    await repository.write('case.txt', 'lower');
    await repository.link('latest', 'lib/model.py');
    await repository.link('lib/up', '../train.py');
    repository.git(['config', 'filter.lfs.clean', 'cat']);
    repository.git(['add', '--all']);
    repository.git(['update-index', '--chmod=+x', 'run.sh']);
    repository.git(['commit', '-qm', 'tree']);
    commit = repository.git(['rev-parse', 'HEAD']);
    mirrors = await taken(repository, commit);
  });

  test('is listed completely, sorted, with modes and sizes', async () => {
    const entries = await mirrors.listTree(project, commit);
    const paths = entries.map((entry) => entry.path);
    expect(paths).toEqual(paths.toSorted());
    expect(entries).toHaveLength(
      Number(repository.git(['ls-tree', '-r', '--name-only', '-z', 'HEAD']).split('\0').length - 1),
    );
    expect(entries.find((entry) => entry.path === 'run.sh')).toMatchObject({ mode: '100755', sizeBytes: 10 });
    expect(entries.find((entry) => entry.path === 'latest')).toMatchObject({ mode: '120000' });
    expect(paths).toContain('data/ünïcode name.csv');
    expect(paths).toContain('new\nline and "quotes"');
  });

  test('is written to disk byte for byte, whatever attributes say', async () => {
    const destDir = join(await temporaryDir(), 'out');
    await mirrors.checkout(project, commit, destDir);
    expect(await readFile(join(destDir, 'id.txt'), 'utf8')).toBe('$Id$ $Format:%H$\nline\n');
    expect(await readFile(join(destDir, 'lib/model.py'), 'utf8')).toBe('depth = 3\n');
    expect((await readFile(join(destDir, 'big.bin'))).equals(Buffer.alloc(3 * 1024 ** 2, 7))).toBe(true);
    expect(await readFile(join(destDir, 'Case.txt'), 'utf8')).toBe('upper');
    expect(await readFile(join(destDir, 'case.txt'), 'utf8')).toBe('lower');
    expect((await stat(join(destDir, 'run.sh'))).mode & 0o777).toBe(0o755);
    expect((await stat(join(destDir, 'train.py'))).mode & 0o777).toBe(0o644);
    expect(await readlink(join(destDir, 'latest'))).toBe('lib/model.py');
    for (const entry of await mirrors.listTree(project, commit)) {
      const path = join(destDir, entry.path);
      const bytes = entry.mode === '120000' ? Buffer.from(await readlink(path)) : await readFile(path);
      const oid = createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
      expect(`${oid} ${entry.path}`).toBe(`${entry.oid} ${entry.path}`);
    }
  });

  test('gives the same archive every time, and for another commit of the same tree', async () => {
    repository.git(['commit', '--quiet', '--allow-empty', '-m', 'nothing']);
    const again = repository.git(['rev-parse', 'HEAD']);
    await mirrors.ingestBundle(project, await repository.bundle({ tips: [again] }), again);
    const one = await buffer(await mirrors.archive(project, commit));
    const other = await buffer(await mirrors.archive(project, again));
    expect(one.equals(other)).toBe(true);
    const listed = execFileSync('tar', ['-tf', '-'], { input: one }).toString('utf8');
    expect(listed.split('\n')).toContain('lib/model.py');
  });

  test('ends git when the reader of an archive goes away', async () => {
    const archive = await mirrors.archive(project, commit);
    archive.destroy();
    expect(archive.destroyed).toBe(true);
    expect((await mirrors.listTree(project, commit)).length).toBeGreaterThan(0);
  });

  test('gives single files, links inside the tree followed', async () => {
    expect(String(await mirrors.readFile(project, commit, 'train.py', 100))).toBe('print("training")\n');
    expect(String(await mirrors.readFile(project, commit, 'latest', 100))).toBe('depth = 3\n');
    expect(String(await mirrors.readFile(project, commit, 'new\nline and "quotes"', 100))).toBe('x');
    expect((await mirrors.readFile(project, commit, 'empty', 100))?.length).toBe(0);
  });

  test('has no file at odd paths', async () => {
    const odd = [
      'nothing',
      'lib',
      '',
      '/',
      '/train.py',
      './train.py',
      '../train.py',
      'lib/../train.py',
      'lib//model.py',
      'train.py/',
      'a\0b',
    ];
    const found = await Promise.all(odd.map((path) => mirrors.readFile(project, commit, path, 100)));
    expect(found).toEqual(odd.map(() => null));
  });

  test('refuses a file above the asked size', async () => {
    await expect(mirrors.readFile(project, commit, 'train.py', 5)).rejects.toMatchObject({ code: 'source-too-large' });
    await expect(mirrors.readFile(project, commit, 'big.bin', 1_000)).rejects.toMatchObject({
      code: 'source-too-large',
    });
  });

  test('is not written over something else', async () => {
    const destDir = await temporaryDir();
    await writeFile(join(destDir, 'mine'), '');
    await expect(mirrors.checkout(project, commit, destDir)).rejects.toThrow(/not empty/);
    expect(await readFile(join(destDir, 'mine'), 'utf8')).toBe('');
  });
});

describe('inspecting a source', () => {
  async function inspect(repository: TestRepository, commit = repository.commit()) {
    const mirrors = await taken(repository, commit);
    return mirrors.inspectSource(project, commit);
  }

  const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${'4'.repeat(64)}\nsize 12345\n`;

  test('passes an ordinary project', async () => {
    const repository = await createRepository();
    await writeProject(repository);
    expect(await inspect(repository)).toEqual([]);
  });

  test('names submodules', async () => {
    const repository = await createRepository();
    await writeProject(repository);
    const head = repository.commit();
    repository.git(['update-index', '--add', '--cacheinfo', `160000,${head},vendor/lib`]);
    repository.git(['commit', '-qm', 'submodule']);
    const commit = repository.git(['rev-parse', 'HEAD']);
    await expect(inspect(repository, commit)).rejects.toMatchObject({
      code: 'source-refused',
      message: expect.stringContaining('vendor/lib'),
    });
  });

  test('names every LFS pointer, unless it is in .assayignore', async () => {
    const repository = await createRepository();
    await repository.write('weights/a.bin', pointer);
    await repository.write('weights/b.bin', pointer);
    const error = await inspect(repository).catch((reason: unknown) => reason);
    expect(error).toMatchObject({
      code: 'source-refused',
      details: [{ path: 'weights/a.bin' }, { path: 'weights/b.bin' }],
    });
    await repository.write('.assayignore', '# kept elsewhere\nweights/\n');
    expect(await inspect(repository)).toEqual([]);
  });

  test('notes DVC pointers', async () => {
    const repository = await createRepository();
    await repository.write('data.csv.dvc', 'outs:\n- md5: x\n  path: data.csv\n');
    expect(await inspect(repository)).toMatchObject([{ kind: 'dvc-pointer', path: 'data.csv.dvc', refused: false }]);
  });

  test.each(['/etc/passwd', '../outside', 'lib/../../outside', 'lib/x/../y', '.git/hooks'])(
    'names a link to %s',
    async (target) => {
      const repository = await createRepository();
      await writeProject(repository);
      const below = repository.object('tree', treeEntry('120000', 'sly', repository.object('blob', target)));
      const commit = repository.commitTree(below);
      await expect(inspect(repository, commit)).rejects.toMatchObject({
        code: 'source-refused',
        details: [{ path: 'sly' }],
      });
    },
  );

  test('refuses a link into a case-folded .git together with the submodule that would use it', async () => {
    const repository = await createRepository();
    const blob = repository.object('blob', '.git');
    const head = repository.commit();
    const inner = repository.object('tree', treeEntry('160000', 'x', head));
    const tree = repository.object(
      'tree',
      Buffer.concat([treeEntry('40000', 'A', inner), treeEntry('120000', 'a', blob)]),
    );
    await expect(inspect(repository, repository.commitTree(tree))).rejects.toMatchObject({ code: 'source-refused' });
  });

  test('refuses names that are not UTF-8', async () => {
    const repository = await createRepository();
    const blob = repository.object('blob', 'x');
    const entry = Buffer.concat([Buffer.from('100644 '), Buffer.from([0xff, 0xfe, 0]), Buffer.from(blob, 'hex')]);
    const commit = repository.commitTree(repository.object('tree', entry));
    await expect(taken(repository, commit)).rejects.toMatchObject({ code: 'source-refused' });
  });

  test('does not act on an embedded bare repository', async () => {
    const repository = await createRepository();
    await repository.write('trap/HEAD', 'ref: refs/heads/main\n');
    await repository.write('trap/config', '[core]\n\tbare = true\n\tfsmonitor = touch /tmp/never\n');
    await mkdir(join(repository.dir, 'trap/objects'), { recursive: true });
    await repository.write('trap/objects/keep', '');
    await repository.write('trap/refs/keep', '');
    const commit = repository.commit();
    const mirrors = await taken(repository, commit);
    const destDir = join(await temporaryDir(), 'out');
    await mirrors.checkout(project, commit, destDir);
    expect((await lstat(join(destDir, 'trap/HEAD'))).isFile()).toBe(true);
  });
});
