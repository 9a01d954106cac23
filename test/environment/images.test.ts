// Environments in images, on the engine of this machine.
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import Docker from 'dockerode';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DomainError } from '#core/errors.ts';
import { installInStageImage } from '#environment/image/stage-image.ts';
import { sweepBuilds } from '#environment/image/sweep-builds.ts';
import { ownerOf } from '#environment/image/run-in-container.ts';
import { findSource } from '#environment/sources/find-source.ts';
import { dockerEngine, testBaseImage } from '#test/support/docker.ts';
import { createImageShop, type ImageShop } from './image-shop.ts';
import { ownBackend, python } from './workshop.ts';

const docker = await dockerEngine();

describe.skipIf(docker === null)('images (skipped: no Docker engine)', () => {
  let shop: ImageShop;
  beforeAll(async () => {
    if (docker === null) throw new TypeError('skipped without an engine');
    shop = await createImageShop(docker);
    shop.wheel('alpha', '1.0', {
      commands: ['alpha-says = alpha:say'],
      module: 'def say():\n    print("alpha says")\n',
    });
    shop.wheel('beta', '0.3', { requires: ['alpha>=1'] });
  });
  afterAll(() => shop.remove());

  const refusalOf = async (doing: Promise<unknown>) => {
    const error: unknown = await doing.then(
      () => new Error('it was not refused'),
      (thrown: unknown) => thrown,
    );
    return error instanceof DomainError ? [error.code, error.message] : ['not a refusal', String(error)];
  };

  describe('requirements', () => {
    test('become one layer over the base, found again by every node of the engine without a build', async () => {
      const root = await shop.checkout({ 'requirements.txt': 'beta\n', 'train.py': 'import beta\n' });
      const lines: string[] = [];
      const built = await shop.build(root, { onLine: (line) => lines.push(line) });
      const [image, base] = await Promise.all(
        [built.image, testBaseImage].map((name) => shop.docker.getImage(name).inspect()),
      );
      expect(image?.RootFS.Layers).toEqual([...(base?.RootFS.Layers ?? []), expect.stringMatching(/^sha256:/)]);
      expect(image?.Config.Labels).toEqual({ 'org.assay.image': built.environmentKey });
      expect([built.hit, lines.join('\n')]).toEqual([false, expect.stringContaining('beta==0.3')]);
      expect(await shop.run(built.image, ['python', '-c', 'import beta, alpha; print("beta", beta.version)'])).toBe(
        'beta 0.3',
      );
      expect(await shop.run(built.image, ['alpha-says'])).toBe('alpha says');
      expect(await shop.run(built.image, ['touch', '/opt/assay/environment/lib/x'])).toMatch(/Read-only|denied/);

      const other = await shop.node({ cacheDir: join(shop.dir, 'other-cache') });
      await writeFile(join(root, 'train.py'), 'print("other code")\n');
      const again = await shop.build(root, { context: other });
      expect(again).toMatchObject({ image: built.image, hit: true, environmentKey: built.environmentKey });
      expect(other.counters).toMatchObject({ builds: 0, hits: 1 });
    });

    test('bytecode in the image is valid, so that nothing is compiled again in a stage', async () => {
      const { image } = await shop.build(await shop.checkout({ 'requirements.txt': 'alpha\n' }));
      const script = 'import alpha, sys; from pathlib import Path; print(Path(alpha.__cached__).is_file())';
      const said = await shop.run(image, ['python', '-v', '-c', script]);
      expect(said).toMatch(/alpha\.cpython-\S+\.pyc matches/);
    });

    test('that name nothing are refused with the reason, and leave neither containers nor images', async () => {
      const root = await shop.checkout({ 'requirements.txt': 'gamma\n' });
      expect(await refusalOf(shop.build(root))).toEqual([
        'environment-unresolvable',
        expect.stringContaining('gamma was not found'),
      ]);
      const left = await shop.docker.listContainers({
        all: true,
        filters: { name: [`assay-build-${ownerOf(shop.context.cacheDir)}`] },
      });
      expect(left).toEqual([]);
    });

    test('that need a compiler, in a base without one, are refused with what to do', async () => {
      sdist('compiled', '1.0', {
        ...ownBackend,
        'backend.py':
          'import subprocess\ndef build_wheel(*args, **more):\n    subprocess.check_call(["gcc", "-c", "x.c"])\n',
      });
      const root = await shop.checkout({ 'requirements.txt': 'compiled\n' });
      const [code, sentence] = await refusalOf(shop.build(root));
      expect(code).toBe('environment-unresolvable');
      expect(sentence).toMatch(/gcc.*base image/);
    });

    test('of a git commit become a wheel, although the base has no git', async () => {
      const repository = await mkdtemp(join(shop.dir, 'repository-'));
      await writeFile(join(repository, 'pyproject.toml'), ownBackend['pyproject.toml']);
      await writeFile(join(repository, 'backend.py'), ownBackend['backend.py']);
      await writeFile(join(repository, 'homemade.py'), 'answer = 42\n');
      const git = `import subprocess as s; run = lambda *a: s.run(['git', '-C', '${repository}', '-c', 'user.name=ada', '-c', 'user.email=a@b', *a], check=True, capture_output=True); run('init', '-b', 'main'); run('add', '.'); run('commit', '-m', 'x'); s.run(['chown', '-R', '${shop.context.builder?.uid ?? process.getuid?.()}', '${repository}'], check=True)`;
      python(git);
      const context = await shop.node({ gitProtocols: 'https:ssh:file' });
      const requirements = `alpha\nhomemade @ git+file://${repository}@main\n`;
      const built = await shop.build(await shop.checkout({ 'requirements.txt': requirements }), { context });
      expect(await shop.run(built.image, ['python', '-c', 'import homemade; print("answer", homemade.answer)'])).toBe(
        'answer 42',
      );
    });
  });

  describe('what installs', () => {
    test('is not root, sees nothing of the machine, and what it is told enters no byte of the image', async () => {
      const canary = `canary${randomUUID().replaceAll('-', '')}`;
      // Fails to build unless it was told all of it, so that the search below is for something that was there.
      const backend = `
import os
told = [os.environ['UV_DEFAULT_INDEX'], os.environ['HTTPS_PROXY'], open(os.environ['SSL_CERT_FILE']).read()]
assert all('${canary}' in one for one in told), told
seen = [path for path in ('${shop.dir}/secret-cache/work', '/var/run/docker.sock', '/root/.ssh') if os.path.exists(path)]
# Its own work and its own home.
others = os.listdir('${shop.dir}/secret-cache/work') if seen[:1] == ['${shop.dir}/secret-cache/work'] else []
with open('homemade.py', 'w') as file:
    file.write(f'uid = {os.getuid()}\\nothers = {len(others)}\\nseen = {[p for p in seen if not p.endswith("work")]!r}\\n')
${ownBackend['backend.py']}`;
      sdist('homemade', '1.5', { ...ownBackend, 'backend.py': backend });
      const ca = join(shop.dir, 'ca.pem');
      const given = process.env.SSL_CERT_FILE ?? '/etc/ssl/certs/ca-certificates.crt';
      await writeFile(ca, `# ${canary}\n${await readFile(given, 'utf8')}`);
      const context = await shop.node({
        cacheDir: join(shop.dir, 'secret-cache'),
        variables: { ...process.env, HTTPS_PROXY: `http://ada:${canary}@127.0.0.1:9` },
        index: {
          noIndex: true,
          findLinks: [shop.index],
          defaultIndex: 'https://index.test/simple',
          credentials: { 'index.test': { username: 'ada', password: canary } },
        },
        extraCaFile: ca,
      });
      const lines: string[] = [];
      const root = await shop.checkout({ 'requirements.txt': 'homemade==1.5\nalpha\n' });
      const built = await shop.build(root, { context, onLine: (line) => lines.push(line) });
      const script = 'import homemade; print(homemade.uid, homemade.others, homemade.seen)';
      const uid = context.builder?.uid ?? process.getuid?.();
      expect(await shop.run(built.image, ['python', '-c', script])).toBe(`${uid} 2 []`);
      expect(lines.join('\n')).not.toContain(canary);
      const saved = await shop.docker.getImage(built.image).get();
      expect(await countIn(saved, canary)).toBe(0);
      expect(JSON.stringify(await shop.docker.getImage(built.image).inspect())).not.toContain(canary);
    });

    test('and was killed is swept by the next build; that of a living process is left alone', async () => {
      const owner = ownerOf(shop.context.cacheDir);
      const dead = python(
        'import os; pid = os.fork(); os._exit(0) if pid == 0 else print(os.waitpid(pid, 0)[0])',
      ).trim();
      const names = [dead, String(process.pid)].map((pid) => `assay-build-${owner}-${pid}-${randomUUID().slice(0, 8)}`);
      const containers = await Promise.all(
        names.map((name) => shop.docker.createContainer({ name, Image: testBaseImage, Cmd: ['true'] })),
      );
      await sweepBuilds(shop.context);
      const left = await shop.docker.listContainers({ all: true, filters: { name: [`assay-build-${owner}`] } });
      expect(left.map((one) => one.Names[0]?.slice(1))).toEqual([names[1]]);
      await containers[1]?.remove();
    });

    test.skipIf(process.getuid?.() !== 0)('meets a full disk: told as that, and nothing half made stays', async () => {
      const wheel = shop.wheel('large', '1.0');
      const grow =
        "import os, sys, zipfile; zipfile.ZipFile(sys.argv[1], 'a').writestr('large.bin', os.urandom(20 * 2 ** 20))";
      python(grow, wheel);
      const cacheDir = join(shop.dir, 'small-cache');
      await mkdir(cacheDir, { mode: 0o711 });
      const uvMib = 45;
      execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${uvMib + 30}m,mode=0711`, 'tmpfs', cacheDir]);
      try {
        const context = await shop.node({ cacheDir });
        const root = await shop.checkout({ 'requirements.txt': 'large\n' });
        expect(await refusalOf(shop.build(root, { context }))).toEqual([
          'resources-exhausted',
          expect.stringMatching(/^The disk was full while uv ran in .*Free some space/),
        ]);
        expect(await readdir(join(cacheDir, 'work'))).toEqual([]);
      } finally {
        execFileSync('umount', [cacheDir]);
      }
    });

    test('is not tried on an engine that is gone: an ordinary error that says so, to be tried again', async () => {
      const gone = await shop.node({
        images: { ...shop.context.images, docker: new Docker({ socketPath: join(shop.dir, 'no.sock') }) },
      });
      const root = await shop.checkout({ 'requirements.txt': 'alpha\n' });
      expect(await refusalOf(shop.build(root, { context: gone }))).toEqual([
        'not a refusal',
        expect.stringMatching(/^Error: The Docker engine did not answer while the image .* was looked for/),
      ]);
    });
  });

  describe('a project without requirements', () => {
    test('runs in the base itself with its own Python, whose packages are recorded', async () => {
      const built = await shop.build(await shop.checkout({ 'train.py': 'print(1)\n' }));
      const { Id } = await shop.docker.getImage(testBaseImage).inspect();
      expect(built).toMatchObject({ image: Id, venv: null, hit: true });
      const found = await installInStageImage(shop.context, built, { sourceDir: '/', packages: [], target: '/none' });
      expect(found).toMatchObject({ image: Id, venv: null, searchPath: built.base.searchPath });
    });
  });

  describe('a repository that is a package', () => {
    const pets = {
      'requirements.txt': 'alpha\n-e .\n',
      'pyproject.toml': `[project]
name = "pets"
version = "2.5"
[project.scripts]
pets-train = "pets.cli:main"
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
`,
      'src/pets/__init__.py': '',
      'src/pets/cli.py': 'import sys\nimport alpha\ndef main():\n    print("training", alpha.__name__, sys.argv[1:])\n',
    };

    test('lies over the image from the copy of the stage, with the commands of both', async () => {
      const root = await shop.checkout(pets);
      const built = await shop.build(root);
      const { packages } = await findSource(root);
      const target = join(root, '..', `overlay-${randomUUID()}`);
      const stage = await installInStageImage(shop.context, built, { sourceDir: root, packages, target });
      expect(stage).toMatchObject({ image: built.image, venv: target });
      const said = await runMounted(
        shop,
        stage.image,
        [root, target],
        [
          '/bin/sh',
          '-c',
          'pets-train --lr 1; alpha-says; python -c "import importlib.metadata as m; print(m.version(\'pets\'))"',
        ],
        stage.searchPath,
      );
      expect(said.split('\n')).toEqual(["training alpha ['--lr', '1']", 'alpha says', '2.5']);
    });

    test('that has to be built is built in a container of the base', async () => {
      const hooked = {
        'requirements.txt': '-e .\nalpha\n',
        'pyproject.toml': `${ownBackend['pyproject.toml']}[tool.setuptools_scm]\nwrite_to = "made.py"\n`,
        'homemade.py': 'answer = 42\n',
        'backend.py': ownBackend['backend.py'],
      };
      const root = await shop.checkout(hooked);
      const built = await shop.build(root);
      const { packages } = await findSource(root);
      const target = join(root, '..', `overlay-${randomUUID()}`);
      const stage = await installInStageImage(shop.context, built, { sourceDir: root, packages, target });
      expect(stage.notes.join()).toContain('was built');
      const script =
        'import homemade, alpha; print(homemade.__file__.startswith(__import__("sys").prefix), homemade.answer)';
      expect(await runMounted(shop, stage.image, [target], ['python', '-c', script], stage.searchPath)).toBe('True 42');
    });
  });

  describe('Python', () => {
    test('of another version than the base has is refused, naming both', async () => {
      const root = await shop.checkout({ 'requirements.txt': 'alpha\n', '.python-version': '3.9\n' });
      const [code, sentence] = await refusalOf(shop.build(root));
      expect(code).toBe('environment-unsupported');
      expect(sentence).toMatch(/\.python-version asks for Python 3\.9.*Python 3\.11/);
    });

    test('of another patch release than .python-version pins is taken with a note', async () => {
      const root = await shop.checkout({ 'requirements.txt': 'alpha\n', '.python-version': '3.11.99\n' });
      expect((await shop.build(root)).interpreter.version).toMatch(/^3\.11\./);
    });
  });

  const sdist = (name: string, version: string, files: Readonly<Record<string, string>>): void => {
    const script = `
import io, json, sys, tarfile
name, version, files = sys.argv[2], sys.argv[3], json.loads(sys.argv[4])
info = f'Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n'
with tarfile.open(f'{sys.argv[1]}/{name}-{version}.tar.gz', 'w:gz') as archive:
    for path, text in {**files, 'PKG-INFO': info}.items():
        data = text.replace('homemade', name).encode() if path != 'PKG-INFO' else text.encode()
        entry = tarfile.TarInfo(f'{name}-{version}/{path}')
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
`;
    python(script, shop.index, name, version, JSON.stringify(files));
  };
});

async function runMounted(
  shop: ImageShop,
  image: string,
  folders: readonly string[],
  command: readonly string[],
  searchPath: string,
): Promise<string> {
  const container = await shop.docker.createContainer({
    Image: image,
    Entrypoint: [command[0] ?? ''],
    Cmd: command.slice(1),
    Env: [`PATH=${searchPath}`],
    Tty: true,
    HostConfig: { NetworkMode: 'none', Binds: folders.map((folder) => `${folder}:${folder}:ro`) },
  });
  try {
    await container.start();
    await container.wait();
    return String(await container.logs({ stdout: true, stderr: true }))
      .replaceAll('\r\n', '\n')
      .trim();
  } finally {
    await container.remove({ force: true });
  }
}

/** How often a text occurs in the bytes of a stream. */
async function countIn(stream: NodeJS.ReadableStream, text: string): Promise<number> {
  let count = 0;
  let tail = '';
  for await (const piece of stream) {
    const chunk = tail + (piece as Buffer).toString('latin1');
    count += chunk.split(text).length - 1;
    tail = chunk.slice(-(text.length - 1));
  }
  return count;
}
