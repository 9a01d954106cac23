import { expect, test } from 'vitest';
import { ignoreRules } from '#core/code-scope.ts';
import { digestEntries, ignoreGlob } from '#git/code-digest.ts';
import type { TreeEntry } from '#git/tree.ts';

const ignoreFilter = (text: string) => ignoreRules(text, ignoreGlob);

function file(path: string, oid = 'a'.repeat(40), mode: TreeEntry['mode'] = '100644'): TreeEntry {
  return { path, mode, oid, sizeBytes: 1 };
}

const tree = ['lib/model.py', 'train.py'].map((path) => file(path));

test('changes with any path, mode or content', () => {
  const base = digestEntries(tree);
  const swap = (to: TreeEntry) => tree.map((entry) => (entry.path === 'train.py' ? to : entry));
  expect(digestEntries(swap(file('train.py', 'b'.repeat(40))))).not.toBe(base);
  expect(digestEntries(swap(file('train.py', undefined, '100755')))).not.toBe(base);
  expect(digestEntries(swap(file('train2.py')))).not.toBe(base);
  expect(digestEntries(tree)).toBe(base);
});

test('is the same in every release', () => {
  const digest = digestEntries([file('a.py'), file('b.sh', 'b'.repeat(40), '100755')]);
  expect(digest).toBe('875f31b0e363b8cd87033148198b25ffad7144a9f0b5fd97c8bda73386791f64');
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
