import { mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findSource, type SourceChoice } from '#environment/sources/find-source.ts';
import { writeTree } from './workshop.ts';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'assay-sources-'));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

async function tree(files: Readonly<Record<string, string>>): Promise<string> {
  const root = await mkdtemp(join(dir, 'tree-'));
  await writeTree(root, files);
  return root;
}

async function find(files: Readonly<Record<string, string>>, choice?: SourceChoice) {
  return await findSource(await tree(files), choice);
}

const project = '[project]\nname = "pets"\nversion = "1"\ndependencies = ["six"]\n';
const uvLock = `version = 1
requires-python = ">=3.10"
[[package]]
name = "pets"
version = "1"
source = { virtual = "." }
[package.metadata]
requires-dist = [{ name = "six" }]
[[package]]
name = "six"
version = "1.17.0"
source = { registry = "https://wheels.example/simple" }
`;

describe('which file is taken', () => {
  const all = {
    'uv.lock': uvLock,
    'pyproject.toml': project,
    'pylock.toml': 'lock-version = "1.0"\npackages = []\n',
    'requirements.txt': 'six\n',
    'setup.py': 'from setuptools import setup\nsetup(name="pets")\n',
    'environment.yml': 'name: pets\n',
  };
  const without = (...names: string[]) =>
    Object.fromEntries(Object.entries(all).filter(([name]) => !names.includes(name)));

  test('uv.lock, then pylock.toml, requirements.txt, pyproject.toml, setup.py', async () => {
    const order = ['uv.lock', 'pylock.toml', 'requirements.txt', 'pyproject.toml', 'setup.py'];
    for (const [index, file] of order.entries()) {
      expect((await find(without(...order.slice(0, index)))).file).toBe(file);
    }
  });

  test('the project file wins over what is found', async () => {
    const found = await find({ ...all, 'deps/gpu.txt': 'torch\n' }, { requirements: 'deps/gpu.txt' });
    expect(found).toMatchObject({ kind: 'requirements', file: 'deps/gpu.txt' });
    await expect(find(all, { requirements: 'gone.txt' })).rejects.toThrow(/no file gone\.txt/);
  });

  test('nothing at all is bare Python', async () => {
    expect(await find({ 'train.py': '' })).toMatchObject({ kind: 'none', file: null, packages: [] });
  });

  test('tool settings alone ask for nothing', async () => {
    expect((await find({ 'pyproject.toml': '[tool.ruff]\nline-length = 100\n' })).kind).toBe('none');
  });

  test.each([
    ['environment.yml', 'conda env create'],
    ['conda-lock.yml', 'conda-lock install'],
    ['Pipfile', 'pipenv requirements'],
  ])('%s is refused with the command that converts it', async (file, command) => {
    await expect(find({ [file]: '' })).rejects.toMatchObject({
      code: 'environment-unsupported',
      message: expect.stringContaining(command),
    });
    expect((await find({ [file]: '', 'requirements.txt': 'six\n' })).kind).toBe('requirements');
  });
});

describe('requirements.txt', () => {
  test('takes its included files, constraints, index lines and local packages', async () => {
    const found = await find({
      'requirements.txt': '-r deps/base.txt\n--extra-index-url https://wheels.example/simple\n-e ./libs/cats[fast]\n',
      'deps/base.txt': '-c limits.txt\nsix\n',
      'deps/limits.txt': 'six<2\n',
      'libs/cats/pyproject.toml': '[project]\nname = "cats"\nversion = "1"\n',
    });
    expect(found.files.map(({ path }) => path)).toEqual([
      'requirements.txt',
      'deps/base.txt',
      'deps/limits.txt',
      'libs/cats/pyproject.toml',
    ]);
    expect(found.indexLines).toEqual(['--extra-index-url https://wheels.example/simple']);
    expect(found.packages).toEqual([{ directory: 'libs/cats', isExplicit: true }]);
  });

  test('comments and blank lines do not change the digest, a requirement does', async () => {
    const plain = await find({ 'requirements.txt': 'six\nattrs>=20\n' });
    const spaced = await find({ 'requirements.txt': '# ours\n\nsix   # for py2\nattrs>=20 \\\n\n' });
    const other = await find({ 'requirements.txt': 'six\nattrs>=21\n' });
    expect(spaced.digest).toBe(plain.digest);
    expect(other.digest).not.toBe(plain.digest);
  });

  test('a file included twice is no circle, one that includes itself is', async () => {
    const twice = { 'requirements.txt': '-r a.txt\n-r b.txt\n', 'a.txt': '-r base.txt\n', 'b.txt': '-r base.txt\n' };
    expect((await find({ ...twice, 'base.txt': 'six\n' })).files).toHaveLength(4);
    await expect(find({ ...twice, 'base.txt': '-r a.txt\n' })).rejects.toThrow(/circle: a\.txt → base\.txt → a\.txt/);
  });

  test.each([
    ['-r ../outside.txt'],
    ['-e ../sibling'],
    ['/opt/wheels/x.whl'],
    ['x @ file:///opt/wheels/x.whl'],
    ['--find-links /opt/wheels'],
  ])('%s leaves the repository and is refused', async (line) => {
    await expect(find({ 'requirements.txt': `${line}\n` })).rejects.toMatchObject({
      code: 'environment-unsupported',
      message: expect.stringContaining('outside of the repository'),
    });
  });

  test('a symbolic link out of the repository is refused', async () => {
    const root = await tree({ 'requirements.txt': '-r deps/base.txt\n' });
    await symlink(await tree({ 'base.txt': 'six\n' }), join(root, 'deps'));
    await expect(findSource(root)).rejects.toThrow(/outside of the repository/);
  });

  test('an included address and a password in an address are refused', async () => {
    await expect(find({ 'requirements.txt': '-r https://example.org/r.txt\n' })).rejects.toThrow(/not|change without/);
    await expect(find({ 'requirements.txt': '-i https://me:secret@example.org/simple\n' })).rejects.toMatchObject({
      message: expect.not.stringContaining('secret@'),
    });
  });
});

describe('pyproject.toml and uv.lock', () => {
  test('only the tables that decide dependencies change the digest', async () => {
    const before = await find({ 'pyproject.toml': project });
    const bumped = await find({ 'pyproject.toml': `${project.replace('"1"', '"2"')}[tool.ruff]\nline-length = 9\n` });
    const other = await find({ 'pyproject.toml': project.replace('six', 'attrs') });
    expect(bumped.digest).toBe(before.digest);
    expect(other.digest).not.toBe(before.digest);
  });

  test('a src layout is a package of the stage', async () => {
    const found = await find({ 'pyproject.toml': project, 'src/pets/__init__.py': '', 'requirements.txt': 'six\n' });
    expect(found).toMatchObject({
      kind: 'requirements',
      isPackage: true,
      packages: [{ directory: '.', isExplicit: false }],
    });
  });

  test('a lock without a dependency of pyproject.toml is refused', async () => {
    const stale = { 'uv.lock': uvLock, 'pyproject.toml': project.replace('"six"', '"six", "attrs>=20"') };
    await expect(find(stale)).rejects.toThrow(/lacks attrs.*uv lock/);
  });

  test('other indexes of the lock are kept for installing', async () => {
    const found = await find({ 'uv.lock': uvLock, 'pyproject.toml': project });
    expect(found.indexLines).toEqual(['--extra-index-url https://wheels.example/simple']);
  });

  test('Poetry tables become requirements', async () => {
    const poetry =
      '[tool.poetry]\nname = "pets"\n[tool.poetry.dependencies]\npython = "^3.9"\nsix = "^1.15"\nattrs = "~23.1"\n';
    const found = await find({ 'pyproject.toml': poetry });
    expect(found.requirements).toEqual(['six>=1.15,<2', 'attrs>=23.1,<23.2']);
    expect(found.python).toEqual({ request: '^3.9', from: 'pyproject.toml' });
  });

  test('broken TOML is named', async () => {
    await expect(find({ 'pyproject.toml': '[project\n' })).rejects.toThrow(/pyproject\.toml is not valid TOML/);
  });
});

describe('which Python is asked', () => {
  const files = { 'pyproject.toml': `${project}requires-python = ">=3.10"\n`, '.python-version': 'my-venv\n3.11.4\n' };

  test('the project file, then .python-version, then requires-python', async () => {
    expect((await find(files, { python: '3.12' })).python).toMatchObject({ request: '3.12', from: 'assay.yaml' });
    expect((await find(files)).python).toEqual({ request: '3.11.4', from: '.python-version' });
    const { '.python-version': _, ...others } = files;
    expect((await find(others)).python).toEqual({ request: '>=3.10', from: 'pyproject.toml' });
  });

  test('setup.py and locks say it too', async () => {
    const setup = { 'setup.py': "setup(name='x', python_requires='>=3.9, <4')\n" };
    expect((await find(setup)).python).toEqual({ request: '>=3.9, <4', from: 'setup.py' });
    expect((await find({ 'uv.lock': uvLock, 'pyproject.toml': project })).python.request).toBe('>=3.10');
  });
});
