import { execFile, execFileSync } from 'node:child_process';
import { chmod, copyFile, mkdir, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Environments } from '#environment/environments.ts';
import { readLock } from '#environment/lock.ts';
import type { MaterialisedEnvironment } from '#environment/materialise.ts';
import { createWorkshop, ownBackend, type Workshop, writeTree } from './workshop.ts';

let shop: Workshop;
beforeAll(async () => {
  shop = await createWorkshop();
  shop.wheel('alpha', '1.0');
  shop.wheel('alpha', '2.0', { commands: ['alpha-says = alpha:say'], module: 'def say():\n    print("alpha says")\n' });
  shop.wheel('beta', '0.3', { requires: ['alpha>=1'] });
});
afterAll(() => shop.remove());

async function resolveTree(environments: Environments, root: string) {
  const source = await environments.findSource(root);
  const { interpreter } = await environments.selectPython(source.python);
  const lock = await environments.resolve({ root, source, interpreter });
  return { source, interpreter, lock };
}

async function build(environments: Environments, files: Readonly<Record<string, string>>) {
  const root = await shop.checkout(files);
  const resolved = await resolveTree(environments, root);
  const environmentKey = environments.environmentKey(resolved.lock, resolved.interpreter);
  const environment = await environments.materialise({ environmentKey, ...resolved });
  return { root, environmentKey, environment, ...resolved };
}

function run({ python }: Pick<MaterialisedEnvironment, 'python'>, script: string): string {
  return execFileSync(python, ['-I', '-c', script], { encoding: 'utf8' }).trim();
}

/** Keeps nothing and has nothing. */
const noWheelStore = {
  wheelsOf: () => Promise.resolve(null),
  missing: (sha256s: readonly string[]) => Promise.resolve([...sha256s]),
  fetch: () => Promise.reject(new Error('there is no such wheel')),
  keep: () => Promise.resolve(),
};

const versions = 'import importlib.metadata as m; print(sorted(f"{d.name}=={d.version}" for d in m.distributions()))';

describe('resolve', () => {
  test('pins every package, also the indirect ones, by hash', async () => {
    const { lock } = await build(shop.environments, { 'requirements.txt': 'beta\n' });
    expect(lock.text).toMatch(/^alpha==2\.0 \\\n {4}--hash=sha256:[0-9a-f]{64}$/m);
    expect(lock.text).toMatch(/^beta==0\.3 \\\n/m);
  });

  test('equal requirements in other words give the same lock', async () => {
    const [one, other] = await Promise.all([
      resolveTree(shop.environments, await shop.checkout({ 'requirements.txt': 'beta\n' })),
      resolveTree(shop.environments, await shop.checkout({ 'requirements.txt': '# all\nalpha\nbeta>=0.1\n' })),
    ]);
    expect(other.lock.sha256).toBe(one.lock.sha256);
    expect(other.source.digest).not.toBe(one.source.digest);
  });

  test.each([
    ['gamma', /gamma was not found.*Correct the name/],
    ['alpha==9', /alpha==9/],
    ['alpha<2\nbeta\nalpha>=2', /alpha<2 and alpha>=2/],
    ['alpha=<2', /parse requirement.*Correct that line/],
  ])('what cannot be had is refused by name: %s', async (lines, message) => {
    const root = await shop.checkout({ 'requirements.txt': `${lines}\n` });
    const refused = resolveTree(shop.environments, root);
    await expect(refused).rejects.toMatchObject({
      code: 'environment-unresolvable',
      message: expect.stringMatching(message),
    });
  });

  test('an index that does not answer is not a refusal', async () => {
    const variables = { ...process.env, UV_HTTP_RETRIES: '0' };
    const offline = shop.again({
      index: { defaultIndex: 'http://127.0.0.1:9/simple' },
      variables,
      cacheDir: join(shop.dir, 'offline'),
    });
    const refused = resolveTree(offline, await shop.checkout({ 'requirements.txt': 'alpha\n' }));
    await expect(refused).rejects.toMatchObject({ name: 'Error', message: expect.stringContaining('127.0.0.1:9') });
  });

  test('pyproject.toml, setup.cfg and pylock.toml give what requirements.txt gives', async () => {
    const { lock } = await build(shop.environments, { 'requirements.txt': 'beta\n' });
    const hashes = [...lock.text.matchAll(/^(\w+)==(\S+) \\\n {4}--hash=sha256:(\w+)/gm)];
    const packages = hashes.map(
      ([, name, version, sha256]) =>
        `[[packages]]\nname = "${name}"\nversion = "${version}"\nwheels = [{ url = "https://x.example/${name}.whl", hashes = { sha256 = "${sha256}" } }]\n`,
    );
    const sources: Record<string, string>[] = [
      { 'pyproject.toml': '[project]\nname = "pets"\nversion = "1"\ndependencies = ["beta"]\n' },
      { 'pylock.toml': `lock-version = "1.0"\ncreated-by = "test"\n${packages.join('\n')}` },
    ];
    for (const files of sources) {
      const resolved = await resolveTree(shop.environments, await shop.checkout(files));
      expect(resolved.lock.text).toBe(lock.text);
    }
  });

  test('the key of a lock follows requirements, Python and index, not the code', async () => {
    const files = { 'requirements.txt': 'alpha\n', 'train.py': 'print(1)\n' };
    const { source, interpreter } = await resolveTree(shop.environments, await shop.checkout(files));
    const keyOf = async (changed: Record<string, string>, environments = shop.environments, python = interpreter) =>
      await environments.lockKey(await environments.findSource(await shop.checkout({ ...files, ...changed })), python);
    const key = await shop.environments.lockKey(source, interpreter);
    expect(await keyOf({ 'train.py': 'print(2)\n' })).toBe(key);
    expect(await keyOf({ 'requirements.txt': 'beta\n' })).not.toBe(key);
    expect(await keyOf({}, shop.environments, { ...interpreter, version: '3.99.0' })).not.toBe(key);
    const login = { 'wheels.example': { username: 'me', password: 'secret' } };
    const index = { defaultIndex: 'https://wheels.example/simple' };
    expect(await keyOf({}, shop.again({ index }))).not.toBe(key);
    expect(await keyOf({}, shop.again({ index: { ...index, credentials: login } }))).toBe(
      await keyOf({}, shop.again({ index })),
    );
  });

  test('a git commit is built once into a wheel that travels with the lock', async () => {
    const repository = await shop.checkout(ownBackend);
    const git = (...args: string[]) =>
      execFileSync('git', ['-C', repository, '-c', 'user.name=t', '-c', 'user.email=t@example.org', ...args]);
    git('init', '--quiet');
    git('add', '.');
    git('commit', '--quiet', '--message', 'first');
    const environments = shop.again();
    const files = { 'requirements.txt': `homemade @ git+file://${repository}\nalpha\n` };
    const first = await resolveTree(environments, await shop.checkout(files));
    const second = await resolveTree(
      environments,
      await shop.checkout({ 'requirements.txt': `${files['requirements.txt']}beta\n` }),
    );
    expect(environments.counters.wheelBuilds).toBe(1);
    expect(first.lock.wheels).toEqual(second.lock.wheels);
    expect(first.lock.text).not.toContain(repository);

    const elsewhere = shop.again({ cacheDir: join(shop.dir, 'another-node') });
    const request = {
      environmentKey: elsewhere.environmentKey(first.lock, first.interpreter),
      ...first,
      lock: readLock(first.lock.text),
    };
    await expect(elsewhere.materialise(request)).rejects.toThrow(/is not on this machine/);
    const [wheel] = first.lock.wheels;
    if (wheel === undefined) throw new Error('the lock has a wheel');
    const fetchWheel = (_: unknown, path: string) => copyFile(environments.wheelPath(wheel), path);
    const wheelStore = { ...noWheelStore, fetch: fetchWheel };
    const environment = await elsewhere.materialise({ ...request, wheelStore });
    expect(run(environment, 'import homemade; print(homemade.answer)')).toBe('42');
  });

  test('git may use only the transports that are allowed', async () => {
    const root = await shop.checkout({ 'requirements.txt': `homemade @ git+file://${shop.dir}/secret\n` });
    await expect(resolveTree(shop.again({ gitProtocols: 'https:ssh' }), root)).rejects.toMatchObject({
      code: 'environment-unresolvable',
    });
  });

  test('a wheel of the tree travels with the lock too', async () => {
    const root = await shop.checkout({
      'requirements.txt': '--find-links wheels\n./wheels/alpha-1.0-py3-none-any.whl\nlocal-only\n',
    });
    await mkdir(join(root, 'wheels'));
    await copyFile(join(shop.index, 'alpha-1.0-py3-none-any.whl'), join(root, 'wheels', 'alpha-1.0-py3-none-any.whl'));
    const path = shop.wheel('local_only', '7.0');
    await copyFile(path, join(root, 'wheels', 'local_only-7.0-py3-none-any.whl'));
    await rm(path);
    const resolved = await resolveTree(shop.environments, root);
    await rm(root, { recursive: true });
    expect(resolved.lock.wheels.map(({ filename }) => filename).sort()).toEqual([
      'alpha-1.0-py3-none-any.whl',
      'local_only-7.0-py3-none-any.whl',
    ]);
    const environmentKey = shop.environments.environmentKey(resolved.lock, resolved.interpreter);
    const environment = await shop.environments.materialise({ environmentKey, ...resolved });
    expect(run(environment, versions)).toBe("['alpha==1.0', 'local_only==7.0']");
  });
});

describe('materialise', () => {
  test('installs exactly the lock, says so line by line, and afterwards does nothing', async () => {
    const environments = shop.again({ cacheDir: join(shop.dir, 'fresh') });
    const root = await shop.checkout({ 'requirements.txt': 'beta\n' });
    const resolved = await resolveTree(environments, root);
    const environmentKey = environments.environmentKey(resolved.lock, resolved.interpreter);
    const lines: string[] = [];
    const onLine = (line: string) => void lines.push(line);
    const built = await environments.materialise({ environmentKey, ...resolved, onLine });
    expect(built.hit).toBe(false);
    expect(lines).toContain(' + beta==0.3');
    expect(run(built, versions)).toBe("['alpha==2.0', 'beta==0.3']");
    expect(execFileSync(join(built.binDir, 'alpha-says'), { encoding: 'utf8' })).toBe('alpha says\n');
    expect(await environments.materialise({ environmentKey, ...resolved })).toEqual({
      ...built,
      hit: true,
      builtMs: 0,
      packages: null,
    });
    expect(environments.counters).toMatchObject({ resolves: 1, builds: 1, hits: 1 });
  });

  test('a file that is not the locked one is refused', async () => {
    const { lock, interpreter } = await build(shop.environments, { 'requirements.txt': 'alpha\n' });
    const forged = readLock(lock.text.replace(/sha256:[0-9a-f]{64}/g, `sha256:${'0'.repeat(64)}`));
    const refused = shop.environments.materialise({ environmentKey: 'forged', lock: forged, interpreter });
    await expect(refused).rejects.toMatchObject({
      code: 'environment-unresolvable',
      message: expect.stringMatching(/[Hh]ash/),
    });
    expect(await readdir(join(shop.dir, 'cache', 'environments'))).not.toContain('forged');
  });

  test('a half-built, cut short or dismantled environment is built again', async () => {
    const built = await build(shop.environments, { 'requirements.txt': 'alpha<2\n' });
    const { environment } = built;
    await chmod(environment.path, 0o755);
    await writeFile(join(environment.path, 'assay-environment.json'), '{"environ', { flag: 'w', mode: 0o644 }).catch(
      async () => {
        await chmod(join(environment.path, 'assay-environment.json'), 0o644);
        await writeFile(join(environment.path, 'assay-environment.json'), '{"environ');
      },
    );
    const gone = 2 ** 22 + 1;
    const leftover = join(shop.dir, 'cache', 'work', `${gone}-killed`);
    await mkdir(leftover);
    expect((await shop.environments.materialise(built)).hit).toBe(false);
    await expect(stat(leftover)).rejects.toMatchObject({ code: 'ENOENT' });
    await chmod(environment.binDir, 0o755);
    await rm(join(environment.binDir, 'python'));
    expect((await shop.environments.materialise(built)).hit).toBe(false);
    expect(run(environment, versions)).toBe("['alpha==1.0']");
  });

  test('its files are read-only and share no inode with the cache', async () => {
    const { environment } = await build(shop.environments, { 'requirements.txt': 'alpha<2\n' });
    const file = run(environment, 'import alpha; print(alpha.__file__)');
    const found = await stat(file);
    expect(found.mode & 0o222).toBe(0);
    expect(found.nlink).toBe(1);
    expect((await stat(join(file, '..'))).mode & 0o222).toBe(0);
  });

  test('several processes that need it build it once', async () => {
    const { lock, interpreter, environmentKey } = await build(shop.again({ cacheDir: join(shop.dir, 'other') }), {
      'requirements.txt': 'alpha\n',
    });
    const cacheDir = join(shop.dir, 'shared');
    const script = join(shop.dir, 'materialise.mjs');
    const environments = new URL('../../environment/environments.ts', import.meta.url).href;
    const options = {
      cacheDir,
      variables: process.env,
      uvPath: await uvPath(),
      index: { noIndex: true, findLinks: [shop.index] },
    };
    await writeFile(
      script,
      `import { createEnvironments } from ${JSON.stringify(environments)};
       const environments = createEnvironments(${JSON.stringify(options)});
       const { hit } = await environments.materialise(${JSON.stringify({ lock, interpreter, environmentKey })});
       console.log(hit);`,
    );
    const all = await Promise.all([1, 2, 3].map(() => promisify(execFile)(process.execPath, [script])));
    expect(all.map(({ stdout }) => stdout.trim()).sort()).toEqual(['false', 'true', 'true']);
  });
});

async function uvPath(): Promise<string> {
  return (await shop.environments.installUv()).path;
}

describe('without requirements', () => {
  test("Python's own packages are used and recorded", async () => {
    const { lock, environment, interpreter, environmentKey } = await build(shop.environments, { 'train.py': '' });
    expect(shop.environments.counters.resolves).toBeGreaterThan(0);
    expect(run(environment, 'import sys; print(sys.version_info[:3])')).toContain(interpreter.version.split('.')[2]);
    const source = await shop.environments.findSource(await shop.checkout({ 'train.py': '' }));
    const more = { ...interpreter, sitePackages: [...interpreter.sitePackages, join(environment.path, '..')] };
    await mkdir(join(environment.path, '..', 'numpy-0.0.1.dist-info'));
    expect(await shop.environments.lockKey(source, more)).not.toBe(
      await shop.environments.lockKey(source, interpreter),
    );
    const other = readLock(`${lock.text}# numpy==0.0.1\n`);
    const refused = shop.environments.materialise({ environmentKey: `${environmentKey}0`, lock: other, interpreter });
    await expect(refused).rejects.toThrow(/lacks numpy==0\.0\.1/);
  });
});

describe('Python', () => {
  test('a version that is not there is refused with those that are', async () => {
    const { interpreter } = await shop.environments.selectPython({ request: null, from: 'the default' });
    const refused = shop.environments.selectPython({ request: '3.99', from: '.python-version' });
    await expect(refused).rejects.toMatchObject({
      code: 'environment-unsupported',
      message: expect.stringContaining(interpreter.version),
    });
  });

  test('another patch release serves .python-version, and it is said; not what the project file asks', async () => {
    const { interpreter } = await shop.environments.selectPython({ request: null, from: 'the default' });
    const request = `${interpreter.version.split('.').slice(0, 2).join('.')}.999`;
    const lenient = await shop.environments.selectPython({ request, from: '.python-version' });
    expect(lenient.notes.join()).toContain(request);
    const strict = shop.environments.selectPython({ request, from: 'assay.yaml', isExact: true });
    await expect(strict).rejects.toMatchObject({ code: 'environment-unsupported' });
  });

  test('is the real interpreter, not a shim or a virtual environment', async () => {
    const { environment } = await build(shop.environments, { 'requirements.txt': 'alpha\n' });
    const inside = shop.again({ python: environment.python });
    const { interpreter } = await inside.selectPython({ request: null, from: 'the default' });
    expect(interpreter.path).not.toContain(shop.dir);
  });
});

describe('a repository that is a package', () => {
  const pets = {
    'pyproject.toml': `[project]
name = "pets-lib"
dynamic = ["version"]
dependencies = ["alpha"]
[project.scripts]
pets-train = "pets.cli:main"
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
`,
    'src/pets/__init__.py': '__version__ = "2.5"\n',
    'src/pets/cli.py': 'import sys\ndef main():\n    print("training", sys.argv[1:])\n',
  };

  async function install(files: Readonly<Record<string, string>>, environments = shop.environments) {
    const built = await build(environments, files);
    const target = join(shop.dir, 'stages', `stage-${stages++}`);
    const request = { sourceDir: built.root, packages: built.source.packages, ...built, target };
    return { ...built, project: await environments.installProject(request) };
  }
  let stages = 0;

  test('is importable from the copy of the stage, with metadata and commands, and nothing is written there', async () => {
    const { root, project, environment } = await install(pets);
    expect(await readdir(root)).toEqual(['pyproject.toml', 'src']);
    expect(run(project, 'import pets, alpha; print(pets.__file__)')).toBe(join(root, 'src/pets/__init__.py'));
    expect(run(project, 'import importlib.metadata as m; print(m.version("pets-lib"))')).toBe('2.5');
    expect(execFileSync(join(project.binDir, 'pets-train'), ['--lr', '1'], { encoding: 'utf8' })).toBe(
      "training ['--lr', '1']\n",
    );
    expect(execFileSync(join(project.binDir, 'alpha-says'), { encoding: 'utf8' })).toBe('alpha says\n');
    const beside = 'import importlib.util as u; print(u.find_spec("pets"))';
    expect(run(environment, beside)).toBe('None');
  });

  test('a change of its code builds nothing', async () => {
    const environments = shop.again();
    await install(pets, environments);
    const counted = { ...environments.counters };
    const { environment, project } = await install(
      { ...pets, 'src/pets/cli.py': 'def main():\n    print("other")\n' },
      environments,
    );
    expect(environment.hit).toBe(true);
    expect(environments.counters).toMatchObject({ builds: counted.builds, wheelBuilds: 0, projectBuilds: 0 });
    expect(execFileSync(join(project.binDir, 'pets-train'), { encoding: 'utf8' })).toBe('other\n');
  });

  test('a setup.py is read, not run, for installing', async () => {
    const { project } = await install({
      'requirements.txt': '-e ./lib\n',
      'lib/pyproject.toml': '[project]\nname = "old"\nversion = "3"\n',
      'lib/setup.py':
        "from setuptools import setup\nNAME = 'old'\nsetup(name=NAME, package_dir={'': 'code'}, entry_points={'console_scripts': ['old-run=old:go']})\n",
      'lib/code/old.py': 'def go():\n    print("old ran")\n',
    });
    expect(execFileSync(join(project.binDir, 'old-run'), { encoding: 'utf8' })).toBe('old ran\n');
  });

  test('one that has to be built is built once per content', async () => {
    const environments = shop.again();
    const compiled = {
      ...ownBackend,
      'pyproject.toml': `${ownBackend['pyproject.toml']}[tool.setuptools]\next-modules = []\n`,
      'requirements.txt': '-e .\n',
    };
    const { project } = await install(compiled, environments);
    await install(compiled, environments);
    expect(environments.counters.projectBuilds).toBe(1);
    expect(run(project, 'import homemade; print(homemade.answer)')).toBe('42');
    const implicit = await install(
      { ...compiled, 'requirements.txt': 'alpha\n', 'src/x/__init__.py': '' },
      environments,
    );
    expect(implicit.project.notes.join()).toContain('Add "-e ."');
  });
});

describe('the .venv of a checkout', () => {
  test('holds exactly the lock and the package of the checkout', async () => {
    const files = {
      'pyproject.toml': '[project]\nname = "pets"\nversion = "1"\ndependencies = ["beta"]\n',
      'src/pets/__init__.py': '',
    };
    const root = await shop.checkout(files);
    const { source, ...resolved } = await resolveTree(shop.environments, root);
    const request = { checkoutDir: root, packages: source.packages, ...resolved };
    const path = await shop.environments.createLocalVenv(request);
    const python = join(path, 'bin', 'python');
    expect(run({ python }, versions)).toBe("['alpha==2.0', 'beta==0.3', 'pets==1']");
    execFileSync(await uvPath(), [
      'pip',
      'install',
      '--quiet',
      '--offline',
      '--python',
      python,
      '--no-index',
      '--find-links',
      shop.index,
      'alpha==1.0',
    ]);
    await shop.environments.createLocalVenv(request);
    expect(run({ python }, versions)).toBe("['alpha==2.0', 'beta==0.3', 'pets==1']");
  });

  test('is not made over a directory of something else', async () => {
    const root = await shop.checkout({ 'requirements.txt': 'alpha\n' });
    await writeTree(root, { '.venv/notes.txt': 'mine' });
    const { source, ...resolved } = await resolveTree(shop.environments, root);
    const refused = shop.environments.createLocalVenv({ checkoutDir: root, packages: source.packages, ...resolved });
    await expect(refused).rejects.toMatchObject({ code: 'conflict' });
  });
});
