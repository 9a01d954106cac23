// The image below an environment: pulled by digest, built from a Dockerfile, or refused with the reason.
import { randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { DomainError } from '#core/errors.ts';
import { contextFiles } from '#environment/image/context-files.ts';
import { defaultReference } from '#environment/image/default-base.ts';
import { findBase, selectBase } from '#environment/image/base.ts';
import { dockerEngine, testBaseImage } from '#test/support/docker.ts';
import { startRegistry, type TestRegistry } from '#test/support/registry.ts';
import { createImageShop, type ImageShop } from './image-shop.ts';
import { createWorkshop, type Workshop } from './workshop.ts';

const docker = await dockerEngine();

const anyPython = { request: null, from: 'the default' };

async function refusalOf(doing: Promise<unknown>): Promise<[string, string]> {
  const error: unknown = await doing.then(
    () => new Error('it was not refused'),
    (thrown: unknown) => thrown,
  );
  return error instanceof DomainError ? [error.code, error.message] : ['not a refusal', String(error)];
}

describe.skipIf(docker === null)('a base image (skipped: no Docker engine)', () => {
  let shop: ImageShop;
  let registry: TestRegistry;
  beforeAll(async () => {
    if (docker === null) throw new TypeError('skipped without an engine');
    shop = await createImageShop(docker);
    shop.wheel('alpha', '1.0');
    registry = await startRegistry();
  });
  afterAll(async () => {
    await registry.close();
    const { host } = registry;
    const pulled = await shop.docker.listImages({ digests: true });
    for (const { Id, RepoDigests } of pulled)
      if (RepoDigests?.some((one) => one.startsWith(host))) await shop.docker.getImage(Id).remove({ force: true });
    await shop.remove();
    for (const { Id, RepoTags } of await shop.docker.listImages({ filters: { label: ['org.assay.base'] } }))
      if (RepoTags?.some((tag) => bases.has(tag))) await shop.docker.getImage(Id).remove({ force: true });
  });
  beforeEach(() => registry.requireLogin(null));
  const bases = new Set<string>();

  const select = (choice: { image?: string; dockerfile?: string; root?: string; onLine?: (line: string) => void }) => {
    const { image = null, dockerfile = null, root = shop.dir, onLine } = choice;
    return selectBase(shop.context, { root, image, dockerfile, python: anyPython }, { onLine });
  };

  describe('named by its digest', () => {
    test('is pulled once, and is the same on every machine', async () => {
      const name = await registry.add('team/tools', { 'etc/tools': 'hammer' });
      const lines: string[] = [];
      const base = await select({ image: name, onLine: (line) => lines.push(line) });
      expect(base).toMatchObject({ kind: 'image', reference: name, digest: name.split('@')[1] });
      expect(lines.join('\n')).toContain('Downloaded newer image');
      registry.requireLogin('nobody:knows');
      expect(await select({ image: name })).toEqual(base);
      const recorded = { kind: base.kind, reference: base.reference, digest: base.digest };
      expect(await findBase(shop.context, recorded, () => Promise.reject(new Error('no tree')), {})).toEqual(base);
    });

    test('may be one that was only loaded, named by its own id', async () => {
      const { Id } = await shop.docker.getImage(testBaseImage).inspect();
      const image = `${testBaseImage.split(':')[0]}@${Id}`;
      expect(await select({ image })).toMatchObject({ digest: Id, imageId: Id });
      const other = select({ image: `127.0.0.1:1/other@${Id}` });
      expect((await refusalOf(other))[1]).toMatch(/did not answer|failed|cannot be pulled/);
    });

    test('and missing in its registry is refused; a registry that is away is trouble that is tried again', async () => {
      const missing = `${registry.host}/team/none@sha256:${'0'.repeat(64)}`;
      expect(await refusalOf(select({ image: missing }))).toEqual([
        'environment-unresolvable',
        expect.stringMatching(/^The base image .*team\/none@sha256:0+ cannot be pulled: manifest.*Correct its name/),
      ]);
      const [kind, sentence] = await refusalOf(select({ image: `127.0.0.1:1/x@sha256:${'1'.repeat(64)}` }));
      expect([kind, sentence]).toEqual(['not a refusal', expect.stringContaining('connection refused')]);
    });

    test('is pulled with the login of its registry, which is said nowhere', async () => {
      registry.requireLogin('ada:canary-password');
      const name = await registry.add('team/private', { secret: 'x' });
      const [code, sentence] = await refusalOf(select({ image: name }));
      expect([code, sentence]).toEqual(['environment-unresolvable', expect.stringContaining('login')]);
      const loginsFile = join(shop.dir, 'config.json');
      const auth = Buffer.from('ada:canary-password').toString('base64');
      await writeFile(loginsFile, JSON.stringify({ auths: { [registry.host]: { auth } } }));
      const context = await shop.node({ images: { ...shop.context.images, loginsFile } });
      const lines: string[] = [];
      const watching = { onLine: (line: string) => lines.push(line) };
      const choice = { root: shop.dir, image: name, dockerfile: null, python: anyPython };
      const base = await selectBase(context, choice, watching);
      expect(JSON.stringify([base, lines])).not.toMatch(/canary/);
    });

    test('for another architecture is refused, naming both', async () => {
      const architecture = process.arch === 'arm64' ? 'amd64' : 'arm64';
      const name = await registry.add('team/elsewhere', { a: 'b' }, { architecture });
      const [code, sentence] = await refusalOf(select({ image: name }));
      expect(code).toBe('environment-unsupported');
      expect(sentence).toMatch(new RegExp(`is for linux/${architecture}; the engine of this node runs linux/`));
    });

    test('without Python runs any command, and installs nothing: requirements are refused', async () => {
      const image = await registry.add('team/bare', { 'etc/bare': 'yes' });
      const bare = await shop.build(await shop.checkout({ 'run.sh': 'true\n' }), { image });
      expect(bare).toMatchObject({ venv: null, interpreter: { version: 'none' } });
      const asked = await shop.checkout({ 'requirements.txt': 'alpha\n' });
      const [code, sentence] = await refusalOf(shop.build(asked, { image }));
      expect([code, sentence]).toEqual(['environment-unsupported', expect.stringContaining('has no Python')]);
    });
  });

  describe('of a Dockerfile', () => {
    const dockerfile = `FROM ${testBaseImage}\nRUN echo built-by-us > /etc/stamp\nCOPY tools/ /tools/\n`;
    const tree = {
      'docker/Dockerfile': dockerfile,
      'tools/a.txt': 'a\n',
      'train.py': 'print(1)\n',
      'requirements.txt': 'alpha\n',
    };
    const choice = { dockerfile: 'docker/Dockerfile' };
    const built = async (root: string, onLine?: (line: string) => void) => {
      const base = await select({ ...choice, root, ...(onLine ? { onLine } : {}) });
      bases.add(`assay/base:${base.digest.slice('sha256:'.length, 'sha256:'.length + 32)}`);
      return base;
    };

    test('is built once, its output told, and stays while only other code changes', async () => {
      const lines: string[] = [];
      const base = await built(await shop.checkout(tree), (line) => lines.push(line));
      expect(lines.join('\n')).toMatch(/Step 2\/4 : RUN echo built-by-us/);
      expect(lines[0]).toMatch(/^note: FROM .* can move/);
      const again: string[] = [];
      const root = await shop.checkout({ ...tree, 'train.py': 'print(2)\n' });
      expect(base.builtMs).toBeGreaterThan(0);
      expect(await built(root, (line) => again.push(line))).toEqual({ ...base, builtMs: null });
      expect(again).toEqual([]);
      const other = await built(await shop.checkout({ ...tree, 'tools/a.txt': 'changed\n' }));
      expect(other.digest).not.toBe(base.digest);
      const image = await shop.build(root, { ...choice });
      const said = await shop.run(image.image, [
        '/bin/sh',
        '-c',
        'cat /etc/stamp /tools/a.txt; python -c "import alpha; print(alpha.version)"',
      ]);
      expect(said).toBe('built-by-us\na\n1.0');
    });

    test('that fails says so with its last lines, and leaves no image behind', async () => {
      const marker = `marker-${randomUUID()}`;
      const failing = `FROM ${testBaseImage}\nRUN echo ${marker} > /made\nRUN echo this is why >&2; exit 7\n`;
      const [code, sentence] = await refusalOf(
        select({ ...choice, root: await shop.checkout({ ...tree, 'docker/Dockerfile': failing }) }),
      );
      expect(code).toBe('environment-unresolvable');
      expect(sentence).toMatch(/^docker\/Dockerfile does not build: .*non-zero code: 7.*Its last lines: .*this is why/);
      expect(await imagesMadeBy(marker)).toEqual([]);
    });

    test('that names a missing base, a missing file or nonsense is refused', async () => {
      const texts = [`FROM ${registry.host}/team/none:1\n`, `FROM ${testBaseImage}\nCOPY absent /x\n`, 'FORM x\n'];
      for (const text of texts) {
        const root = await shop.checkout({ ...tree, 'docker/Dockerfile': text });
        expect(await refusalOf(select({ ...choice, root }))).toEqual([
          'environment-unresolvable',
          expect.stringMatching(/^docker\/Dockerfile does not build: .*(manifest|absent|FORM)/i),
        ]);
      }
      expect(await refusalOf(select({ dockerfile: 'none', root: shop.dir }))).toEqual([
        'environment-unresolvable',
        expect.stringContaining('There is no file none in this commit'),
      ]);
    });

    test('has bounds: it reaches no network of the machine and may not take all memory', async () => {
      const text = `FROM ${testBaseImage}\nRUN python3 -c "x = bytearray(2 * 1024 ** 3)"\n`;
      const root = await shop.checkout({ ...tree, 'docker/Dockerfile': text });
      const [code, sentence] = await refusalOf(select({ ...choice, root }));
      expect([code, sentence]).toEqual(['resources-exhausted', expect.stringMatching(/more memory than the 1024 MiB/)]);
    });

    // Others use the engine too, so only images of this very build count.
    const imagesMadeBy = async (marker: string): Promise<string[]> => {
      const found = await shop.docker.listImages({ all: true });
      const histories = found.map(async ({ Id }) => [Id, JSON.stringify(await historyOf(Id))] as const);
      return (await Promise.all(histories)).filter(([, history]) => history.includes(marker)).map(([id]) => id);
    };
    const historyOf = (id: string): Promise<unknown> =>
      shop.docker
        .getImage(id)
        .history()
        .catch((error: { statusCode?: number }) => {
          if (error.statusCode === 404) return [];
          throw error;
        });
  });
});

describe('the files that a Dockerfile is built from', () => {
  let shop: Workshop;
  beforeAll(async () => {
    shop = await createWorkshop();
  });
  afterAll(() => shop.remove());

  const tree = { Dockerfile: '', 'a/x.txt': '', 'a/y.md': '', 'b/z.txt': '', 'top.txt': '' };
  test.each([
    ['FROM x\nRUN true\n', []],
    ['FROM x\nCOPY a /a\n', ['a/x.txt', 'a/y.md']],
    ['FROM x\nCOPY --chown=1:1 a/*.txt \\\n  top.txt /a/\n', ['a/x.txt', 'top.txt']],
    ['FROM x AS one\nFROM y\nCOPY --from=one /a /a\nADD ["b", "/b"]\n', ['b/z.txt']],
    ['FROM x\nARG WHAT=a\nCOPY $WHAT /a\n', ['a/x.txt', 'a/y.md', 'b/z.txt', 'top.txt']],
    ['FROM x\nCOPY . /all\n', ['a/x.txt', 'a/y.md', 'b/z.txt', 'top.txt']],
  ])('%j needs %j', async (text, expected) => {
    expect(await contextFiles(await shop.checkout(tree), 'Dockerfile', text)).toEqual(expected);
  });

  test('leave out what .dockerignore names, the last line deciding', async () => {
    const root = await shop.checkout({ ...tree, '.dockerignore': '# no text\n**/*.txt\n!top.txt\nb\n' });
    expect(await contextFiles(root, 'Dockerfile', 'COPY . /all')).toEqual(['.dockerignore', 'a/y.md', 'top.txt']);
  });
});

describe('the default base', () => {
  test.each([
    ['3.11', 'python:3.11-slim'],
    ['3.11.7', 'python:3.11-slim'],
    ['>=3.9,<3.11', 'python:3.10-slim'],
    ['>=3.13.2', 'python:3.14-slim'],
    [null, 'python:3.12-slim'],
  ])('for Python %j is %s', (request, expected) => {
    expect(defaultReference('python:{python}-slim', { request, from: 'assay.yaml' })).toBe(expected);
  });

  test('for a Python that no image has is refused', () => {
    expect(() => defaultReference('python:{python}-slim', { request: '>=4', from: 'pyproject.toml' })).toThrow(
      /pyproject.toml asks for Python >=4, for which there is no default base image/,
    );
  });
});
