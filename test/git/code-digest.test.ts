import { expect, test } from 'vitest';
import { codeDigest, type CodeSelection, stageFiles } from '#git/code-digest.ts';
import { ignoreFilter } from '#git/ignore.ts';
import type { TreeEntry } from '#git/tree.ts';

function file(path: string, oid = 'a'.repeat(40), mode: TreeEntry['mode'] = '100644'): TreeEntry {
  return { path, mode, oid, sizeBytes: 1 };
}

const paths = [
  '.assayignore',
  '.github/workflows/ci.yml',
  'CHANGELOG.md',
  'LICENSE',
  'README.md',
  'assay.yaml',
  'data/train.sql',
  'docs/README.md',
  'input.json',
  'lib/model.py',
  'notebooks/a.ipynb',
  'requirements.txt',
  'train.py',
];
const leaveOut = ['assay.yaml', 'input.json', 'requirements.txt', 'data/train.sql'];
const tree = paths.map((path) => file(path));

function digestOf(entries: TreeEntry[], selection: Partial<CodeSelection> = {}) {
  return codeDigest(entries, { leaveOut, ...selection });
}

test('leaves out what enters a step key by itself and what is text for people', () => {
  const { files } = digestOf(tree);
  expect(files.map((entry) => entry.path)).toEqual(['docs/README.md', 'lib/model.py', 'notebooks/a.ipynb', 'train.py']);
});

test('changes with any path, mode or content that is in it, and with nothing else', () => {
  const base = digestOf(tree).digest;
  const swap = (path: string, to: TreeEntry) => tree.map((entry) => (entry.path === path ? to : entry));
  expect(digestOf(swap('train.py', file('train.py', 'b'.repeat(40)))).digest).not.toBe(base);
  expect(digestOf(swap('train.py', file('train.py', undefined, '100755'))).digest).not.toBe(base);
  expect(digestOf(swap('train.py', file('train2.py'))).digest).not.toBe(base);
  expect(digestOf(swap('README.md', file('README.md', 'b'.repeat(40)))).digest).toBe(base);
  expect(digestOf(swap('input.json', file('input.json', 'b'.repeat(40)))).digest).toBe(base);
  expect(digestOf(tree).digest).toBe(base);
});

test('is the same in every release', () => {
  const { digest } = codeDigest([file('a.py'), file('b.sh', 'b'.repeat(40), '100755')], { leaveOut: [] });
  expect(digest).toBe('875f31b0e363b8cd87033148198b25ffad7144a9f0b5fd97c8bda73386791f64');
});

test('leaves out what .assayignore names', () => {
  const { files } = digestOf(tree, { ignore: 'notebooks/\n*.md\n!docs/README.md\n' });
  expect(files.map((entry) => entry.path)).toEqual(['docs/README.md', 'lib/model.py', 'train.py']);
});

test('a stage that declares code gets and depends on only that', () => {
  const code = ['lib/', 'train.py'];
  expect(digestOf(tree, { code }).files.map((entry) => entry.path)).toEqual(['lib/model.py', 'train.py']);
  const gets = stageFiles(code);
  expect(paths.filter(gets)).toEqual(['lib/model.py', 'train.py']);
  expect(paths.filter(stageFiles(undefined))).toEqual(paths);
});

test.each([
  ['*.py', 'a.py', true],
  ['*.py', 'deep/er/a.py', true],
  ['/*.py', 'deep/a.py', false],
  ['a.py', 'a.pyc', false],
  ['build', 'build', true],
  ['build', 'x/build/y/z', true],
  ['build/', 'build', false],
  ['build/', 'x/build/y', true],
  ['/build/', 'x/build/y', false],
  ['docs/*.txt', 'docs/a.txt', true],
  ['docs/*.txt', 'x/docs/a.txt', false],
  ['docs/*.txt', 'docs/b/a.txt', false],
  ['docs/**', 'docs/b/a.txt', true],
  ['**/cache', 'a/b/cache/f', true],
  ['a/**/b', 'a/b', true],
  ['a/**/b', 'a/x/y/b', true],
  ['.*', '.hidden', true],
  ['f?o', 'foo', true],
  ['f[a-c]o', 'fbo', true],
  ['{a,b}', 'a', false],
  ['{a,b}', '{a,b}', true],
  ['# comment', '# comment', false],
  ['\\#real', '#real', true],
  ['', 'a', false],
  ['name with space', 'name with space', true],
  ['trailing   ', 'trailing', true],
])('the line %j of an ignore file and the path %j: %s', (line, path, expected) => {
  expect(ignoreFilter(line)(path)).toBe(expected);
});

test('the last matching line wins', () => {
  const filter = ignoreFilter('*.csv\n!keep.csv\n/data/keep.csv\r\n');
  expect(['a.csv', 'keep.csv', 'data/keep.csv'].map(filter)).toEqual([true, false, true]);
});
