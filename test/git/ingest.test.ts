import { execFileSync } from 'node:child_process';
import { appendFile, mkdir, readFile, stat, truncate, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import {
  createRepository,
  openMirrors,
  removeTemporary,
  roomy,
  temporaryDir,
  treeEntry,
  writeProject,
} from './repositories.ts';

const project = 'p1';

afterAll(removeTemporary);

async function committedProject() {
  const repository = await createRepository();
  await writeProject(repository);
  const first = repository.commit('first');
  return { repository, first };
}

describe('a bundle that is sound', () => {
  test('brings its commit and no branch', async () => {
    const { repository, first } = await committedProject();
    const mirrors = await openMirrors();
    const taken = await mirrors.ingestBundle(project, await repository.bundle({ tips: [first] }), first);
    expect(taken).toMatchObject({ commit: first, tree: repository.git(['rev-parse', 'HEAD^{tree}']), branch: null });
    expect(mirrors.refs(project)).toEqual([`refs/assay/commits/${first} ${first}`]);
    expect(await mirrors.quarantined()).toEqual([]);
  });

  test('never moves a branch, whatever references it names', async () => {
    const { repository, first } = await committedProject();
    const mirrors = await openMirrors();
    await mirrors.ingestBundle(project, await repository.bundle({ tips: [first] }), first);
    execFileSync('git', ['--git-dir', join(mirrors.rootDir, `${project}.git`), 'update-ref', 'refs/heads/main', first]);
    await repository.write('train.py', 'evil\n');
    const second = repository.commit('second');
    const refs = ['refs/heads/main', 'refs/assay/commits/x', 'HEAD'];
    const bundle = await repository.bundle({ tips: [second, first], refs, without: [] });
    await mirrors.ingestBundle(project, bundle, second);
    expect(mirrors.refs(project)).toContain(`refs/heads/main ${first}`);
    expect((await mirrors.resolve(project, 'main')).commit).toBe(first);
  });

  test('leaves behind what the named commit does not reach', async () => {
    const { repository, first } = await committedProject();
    await repository.write('secret.txt', 'other');
    const other = repository.commit('other');
    const mirrors = await openMirrors();
    await mirrors.ingestBundle(project, await repository.bundle({ tips: [first, other] }), first);
    expect(await mirrors.hasCommits(project, [first, other])).toEqual([first]);
  });

  test('may build on commits that are here', async () => {
    const { repository, first } = await committedProject();
    const mirrors = await openMirrors();
    await mirrors.ingestBundle(project, await repository.bundle({ tips: [first] }), first);
    await repository.write('lib/model.py', 'depth = 4\n');
    const second = repository.commit('second');
    const bundle = await repository.bundle({ tips: [second], without: [first] });
    expect((await stat(bundle)).size).toBeLessThan(1_000);
    await mirrors.ingestBundle(project, bundle, second);
    expect(String(await mirrors.readFile(project, second, 'lib/model.py', 100))).toBe('depth = 4\n');
    expect(await mirrors.diffNames(project, first, second)).toEqual([{ status: 'M', path: 'lib/model.py' }]);
  });

  test('is taken once when twenty clients send it at the same time, from two processes’ mirrors', async () => {
    const { repository, first } = await committedProject();
    const bundle = await repository.bundle({ tips: [first] });
    const one = await openMirrors();
    const other = await openMirrors({ rootDir: one.rootDir });
    const all = Array.from({ length: 20 }, (_, n) => (n % 2 === 0 ? one : other).ingestBundle(project, bundle, first));
    const taken = await Promise.all(all);
    expect(new Set(taken.map((commit) => commit.tree)).size).toBe(1);
    expect(one.refs(project)).toEqual([`refs/assay/commits/${first} ${first}`]);
    expect(await one.quarantined()).toEqual([]);
  });

  test('keeps every commit readable after many small bundles were joined into few packs', async () => {
    const { repository } = await committedProject();
    const mirrors = await openMirrors();
    const commits: string[] = [];
    for (let n = 0; n < 45; n += 1) {
      await repository.write('n.txt', `${n}`);
      const without = commits.slice(-1);
      commits.push(repository.commit(`n ${n}`));
      const bundle = await repository.bundle({ tips: commits.slice(-1), without });
      await mirrors.ingestBundle(project, bundle, commits[n] ?? '');
    }
    expect(await mirrors.hasCommits(project, commits)).toHaveLength(45);
    expect(String(await mirrors.readFile(project, commits[7] ?? '', 'n.txt', 10))).toBe('7');
  });
});

describe('a bundle that is refused', () => {
  async function refusal(bundle: string, commit: string, limits = roomy) {
    const mirrors = await openMirrors({ limits });
    const error = await mirrors.ingestBundle(project, bundle, commit).then(
      () => null,
      (reason: unknown) => reason,
    );
    expect(mirrors.refs(project)).toEqual([]);
    expect(await mirrors.quarantined()).toEqual([]);
    expect(await mirrors.hasCommits(project, [commit])).toEqual([]);
    return error;
  }

  test('lacks the commit that was named', async () => {
    const { repository, first } = await committedProject();
    const bundle = await repository.bundle({ tips: [first] });
    const error = await refusal(bundle, '0123456789012345678901234567890123456789');
    expect(error).toMatchObject({ code: 'source-refused', message: expect.stringContaining('does not contain') });
  });

  test('is cut off anywhere', async () => {
    const { repository, first } = await committedProject();
    const bundle = await repository.bundle({ tips: [first] });
    const { size } = await stat(bundle);
    for (const length of [0, 1, 10, 40, 80, size - 200, size - 20, size - 1]) {
      const cut = join(await temporaryDir(), 'cut.bundle');
      await writeFile(cut, await readFile(bundle));
      await truncate(cut, length);
      expect(await refusal(cut, first)).toMatchObject({ code: 'source-refused' });
    }
  });

  test('has one flipped byte in its pack', async () => {
    const { repository, first } = await committedProject();
    const file = await repository.bundle({ tips: [first] });
    const bytes = await readFile(file);
    const at = bytes.length - 60;
    bytes[at] = (bytes[at] ?? 0) ^ 255;
    await writeFile(file, bytes);
    expect(await refusal(file, first)).toMatchObject({ code: 'source-refused' });
  });

  test('has no pack but a lot of something else', async () => {
    const file = join(await temporaryDir(), 'noise.bundle');
    await writeFile(file, '# v2 git bundle\n');
    await appendFile(file, 'x'.repeat(3 * 1024 ** 2));
    expect(await refusal(file, 'a'.repeat(40))).toMatchObject({ code: 'source-refused' });
  });

  test('builds on commits that are not here', async () => {
    const { repository, first } = await committedProject();
    const second = repository.commit('second');
    const error = await refusal(await repository.bundle({ tips: [second], without: [first] }), second);
    expect(error).toMatchObject({ code: 'source-refused', message: expect.stringContaining(first) });
  });

  test('hides that objects are missing', async () => {
    const { repository, first } = await committedProject();
    const second = repository.commit('second');
    const honest = await repository.bundle({ tips: [second], without: [first] });
    const text = (await readFile(honest)).toString('latin1').replace(`-${first}\n`, '');
    await writeFile(honest, Buffer.from(text, 'latin1'));
    expect(await refusal(honest, second)).toMatchObject({ code: 'source-refused' });
  });

  test('is partial, of another hash or of another version', async () => {
    const heads = ['# v3 git bundle\n@filter=blob:none', '# v3 git bundle\n@object-format=sha256', '# v9 git bundle'];
    for (const head of heads) {
      const file = join(await temporaryDir(), 'odd.bundle');
      await writeFile(file, `${head}\n${'a'.repeat(40)} refs/heads/main\n\nPACK`);
      expect(await refusal(file, 'a'.repeat(40))).toMatchObject({ code: 'source-refused' });
    }
  });

  test('is larger than the cap', async () => {
    const { repository, first } = await committedProject();
    const limits = { ...roomy, sizeBytesMax: 300 };
    expect(await refusal(await repository.bundle({ tips: [first] }), first, limits)).toMatchObject({
      code: 'source-too-large',
    });
  });

  test('unpacks to more than the cap', async () => {
    const repository = await createRepository();
    await repository.write('zeros.bin', Buffer.alloc(8 * 1024 ** 2));
    const commit = repository.commit();
    const bundle = await repository.bundle({ tips: [commit] });
    expect((await stat(bundle)).size).toBeLessThan(100_000);
    const error = await refusal(bundle, commit, { ...roomy, sizeBytesMax: 1024 ** 2 });
    expect(error).toMatchObject({ code: 'source-too-large', message: expect.stringContaining('1 MiB') });
  });

  test('has more files than the cap', async () => {
    const { repository, first } = await committedProject();
    const error = await refusal(await repository.bundle({ tips: [first] }), first, { ...roomy, filesMax: 4 });
    expect(error).toMatchObject({ code: 'source-too-large', message: expect.stringContaining('4 files') });
  });

  test('unfolds into billions of files or of empty folders', async () => {
    const repository = await createRepository();
    for (const leaf of [treeEntry('100644', 'f', repository.object('blob', 'x')), Buffer.alloc(0)]) {
      let tree = repository.object('tree', leaf);
      for (let level = 0; level < 10; level += 1) {
        const entries = Array.from({ length: 10 }, (_, n) => treeEntry('40000', `d${n}`, tree));
        tree = repository.object('tree', Buffer.concat(entries));
      }
      const commit = repository.commitTree(tree);
      const bundle = await repository.bundle({ tips: [commit] });
      expect(await refusal(bundle, commit)).toMatchObject({ code: 'source-too-large' });
    }
  });

  test.each([
    ['a folder named .git', '40000', '.git'],
    ['a folder named .GIT', '40000', '.GIT'],
    ['a folder that Windows reads as .git', '40000', 'git~1'],
    ['a folder that macOS reads as .git', '40000', '.g\u200cit'],
    ['a folder named ..', '40000', '..'],
    ['a name with a slash', '100644', 'a/b'],
    ['a link named .gitmodules', '120000', '.gitmodules'],
  ])('has %s', async (_what, mode, name) => {
    const repository = await createRepository();
    const blob = repository.object('blob', 'x');
    const below = repository.object('tree', treeEntry('100644', 'config', blob));
    const tree = repository.object('tree', treeEntry(mode, name, mode === '40000' ? below : blob));
    const commit = repository.commitTree(tree);
    expect(await refusal(await repository.bundle({ tips: [commit] }), commit)).toMatchObject({
      code: 'source-refused',
    });
  });

  test.each([
    ['an address that is an option', '[submodule "x"]\n\tpath = x\n\turl = -u./payload\n'],
    ['a name that climbs', '[submodule "../../hooks"]\n\tpath = x\n\turl = https://example.org/x\n'],
    ['a path that is an option', '[submodule "x"]\n\tpath = -x\n\turl = https://example.org/x\n'],
    ['an update command', '[submodule "x"]\n\tpath = x\n\turl = https://example.org/x\n\tupdate = !touch /tmp/x\n'],
  ])('declares a submodule with %s', async (_what, modules) => {
    const repository = await createRepository();
    await repository.write('.gitmodules', modules);
    const commit = repository.commit();
    expect(await refusal(await repository.bundle({ tips: [commit] }), commit)).toMatchObject({
      code: 'source-refused',
    });
  });

  test('names a commit by anything but a full hash', async () => {
    const { repository, first } = await committedProject();
    const mirrors = await openMirrors();
    const bundle = await repository.bundle({ tips: [first] });
    for (const name of ['main', 'HEAD', first.slice(0, 12), '--all', '']) {
      await expect(mirrors.ingestBundle(project, bundle, name)).rejects.toMatchObject({ code: 'invalid-reference' });
    }
  });
});

test('a history with old, harmless flaws is taken', async () => {
  const repository = await createRepository();
  const blob = repository.object('blob', 'x');
  const below = repository.object('tree', treeEntry('100644', 'f', blob));
  const tree = repository.object('tree', treeEntry('040000', 'd', below));
  const who = 'Ada Lovelace <ada@example.org> 1714550400 +00000200';
  const commit = repository.object('commit', `tree ${tree}\nauthor ${who}\ncommitter ${who}\n\nold\n`);
  const mirrors = await openMirrors();
  expect(await mirrors.ingestBundle(project, await repository.bundle({ tips: [commit] }), commit)).toMatchObject({
    commit,
  });
});

test('what transfers of dead processes left is removed at the next start, and that of live ones is not', async () => {
  const mirrors = await openMirrors();
  const dead = `${hostname()},999999,gone,1`;
  const earlier = `${hostname()},${process.pid},an-earlier-life,2`;
  const elsewhere = 'other-host,1,x,3';
  const forgotten = 'other-host,1,x,4';
  for (const name of [dead, earlier, elsewhere, forgotten]) {
    await mkdir(join(mirrors.rootDir, 'quarantine', name), { recursive: true });
  }
  await utimes(join(mirrors.rootDir, 'quarantine', forgotten), new Date(0), new Date(0));
  await mirrors.ensure(project);
  expect(await mirrors.quarantined()).toEqual([elsewhere]);
});

test('a reference lock that a killed process left does not stop the next ingest', async () => {
  const { repository, first } = await committedProject();
  const mirrors = await openMirrors();
  await mirrors.ensure(project);
  const dir = join(mirrors.rootDir, `${project}.git`, 'refs', 'assay', 'commits');
  await mkdir(dir, { recursive: true });
  await writeFile(join(dir, `${first}.lock`), '');
  const past = new Date(Date.now() - 60_000);
  await utimes(join(dir, `${first}.lock`), past, past);
  await mirrors.ingestBundle(project, await repository.bundle({ tips: [first] }), first);
  expect(mirrors.refs(project)).toEqual([`refs/assay/commits/${first} ${first}`]);
});
