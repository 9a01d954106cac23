import { chmod, rename, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { digestedEntries } from '#activities/stage/ingredients.ts';
import { digestEntries } from '#git/code-digest.ts';
import type { Mirrors } from '#git/mirror.ts';
import type { TreeEntry } from '#git/tree.ts';
import { projectConfig } from '#test/api/fixtures.ts';
import { createRepository, openMirrors, removeTemporary, type TestRepository } from '#test/git/repositories.ts';

afterAll(removeTemporary);

const config = projectConfig({
  params: { file: 'params.yaml', style: 'json', defaults: null },
  data: [{ kind: 'query', name: 'train', query: 'train.sql', to: 'data/train.csv', format: 'csv' }],
});

type Tree = Pick<Mirrors, 'listTree' | 'readFile'>;

async function digestOf(tree: Tree, commit: string, code: string[] | null = null, requirementFiles: string[] = []) {
  const project = { id: 'digits', name: 'digits' };
  return digestEntries(await digestedEntries(tree, { code }, { project, commit, config, requirementFiles }));
}

let repository: TestRepository;
let mirrors: Mirrors;
let first: string;

/** The digests of a change and of the tree before it, as a mirror lists both. */
async function changed(change: () => Promise<void>, code: string[] | null = null): Promise<boolean> {
  repository.git(['checkout', '--quiet', '--force', '--detach', first]);
  await change();
  const commit = repository.commit();
  return (await digestOf(mirrors, commit, code)) !== (await digestOf(mirrors, first, code));
}

beforeAll(async () => {
  repository = await createRepository();
  for (const path of ['train.py', 'lib/model.py', 'lib/deep/net.py', 'tools/plot.py', 'params.yaml', 'train.sql'])
    await repository.write(path, `# ${path}\n`);
  await repository.write('.assayignore', 'notes/\n*.md\n');
  await repository.link('current', 'lib');
  first = repository.commit();
  // What a mirror lists is the matter here, not how commits come into it.
  const opened = await openMirrors();
  await symlink(join(repository.dir, '.git'), join(opened.rootDir, 'digits.git'));
  mirrors = opened;
});

const at = (path: string) => join(repository.dir, path);

it.each<[string, () => Promise<void>]>([
  ['a byte of a file', () => repository.write('lib/deep/net.py', '# lib/deep/net.pz\n')],
  ['a new file', () => repository.write('lib/new.py', '')],
  ['a file that is gone', () => rm(at('lib/model.py'))],
  ['another name', () => rename(at('lib/model.py'), at('lib/models.py'))],
  ['the executable bit', () => chmod(at('train.py'), 0o755)],
  [
    "a link's target",
    async () => {
      await rm(at('current'));
      await symlink('tools', at('current'));
    },
  ],
  [
    'a file in place of a link',
    async () => {
      await rm(at('current'));
      await repository.write('current', 'lib');
    },
  ],
  ['a README below the root', () => repository.write('lib/README.txt', 'read by the code')],
])('the code of a stage changes with %s', async (_, change) => {
  expect(await changed(change)).toBe(true);
});

it.each<[string, string]>([
  ['prose', 'README.rst'],
  ['the licence', 'LICENSE'],
  ['the change log', 'CHANGELOG.md'],
  ['the configuration of a git host', '.github/workflows/ci.yml'],
  ['what .assayignore names', 'notes/today.txt'],
  ['.assayignore itself, where it names the same files', '.assayignore'],
  ['assay.yaml, of which each part enters by itself', 'assay.yaml'],
  ['the parameter file, whose values enter', 'params.yaml'],
  ['a query, whose text enters', 'train.sql'],
  ['requirements, whose lock enters', 'requirements.txt'],
])('the code of a stage does not change with %s', async (_, path) => {
  expect(await changed(() => repository.write(path, '# another text\nnotes/\n*.md\n'))).toBe(false);
});

it('a rule taken out of .assayignore lets its files count', async () => {
  const both = async () => {
    await repository.write('notes/today.txt', 'one');
    await repository.write('.assayignore', '*.md\n');
  };
  expect(await changed(both)).toBe(true);
});

it('a file that entered the lock is left out under any name', async () => {
  const tree: Tree = {
    listTree: async () => [entry('deps/base.in', 1), entry('a.py', 1)],
    readFile: async () => null as never,
  };
  const other: Tree = { ...tree, listTree: async () => [entry('deps/base.in', 2), entry('a.py', 1)] };
  expect(await digestOf(tree, 'c', null, ['deps/base.in'])).toBe(await digestOf(other, 'c', null, ['deps/base.in']));
  expect(await digestOf(tree, 'c')).not.toBe(await digestOf(other, 'c'));
});

function entry(path: string, content: number, mode: TreeEntry['mode'] = '100644'): TreeEntry {
  return { path, mode, oid: String(content).padStart(40, '0'), sizeBytes: 1 };
}

it('narrowed code changes exactly with the files that it names', async () => {
  const paths = ['train.py', 'lib/a.py', 'lib/b/c.py', 'lib/data.csv', 'libx/a.py', 'tools/plot.py', 'z.ipynb'];
  const code = ['train.py', 'lib/**/*.py', 'tools/'];
  const inside = new Set(['train.py', 'lib/a.py', 'lib/b/c.py', 'tools/plot.py']);
  const tree = fc.uniqueArray(
    fc.record({ path: fc.constantFrom(...paths), content: fc.nat(2), isExecutable: fc.boolean() }),
    { selector: ({ path }) => path },
  );
  const entries = (files: Array<{ path: string; content: number; isExecutable: boolean }>) =>
    files
      .map(({ path, content, isExecutable }) => entry(path, content, isExecutable ? '100755' : '100644'))
      .toSorted((a, b) => (a.path < b.path ? -1 : 1));
  await fc.assert(
    fc.asyncProperty(tree, tree, async (one, two) => {
      const seen = (files: typeof one) => JSON.stringify(entries(files).filter(({ path }) => inside.has(path)));
      const digest = (files: typeof one) =>
        digestOf({ listTree: async () => entries(files), readFile: async () => null as never }, 'c', code);
      expect((await digest(one)) === (await digest(two))).toBe(seen(one) === seen(two));
    }),
  );
});
