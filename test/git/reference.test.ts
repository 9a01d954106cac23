import { expect, test } from 'vitest';
import { parseCommit, parseReference } from '#git/reference.ts';

test.each([
  ['main', { kind: 'name', name: 'main' }],
  ['feature/deep/one', { kind: 'name', name: 'feature/deep/one' }],
  ['refs/heads/main', { kind: 'branch', name: 'main' }],
  ['refs/tags/v1.0', { kind: 'tag', name: 'v1.0' }],
  ['HEAD', { kind: 'head' }],
  ['0123abc', { kind: 'name', name: '0123abc' }],
  ['A'.repeat(40), { kind: 'commit', sha: 'a'.repeat(40) }],
  ['b'.repeat(64), { kind: 'commit', sha: 'b'.repeat(64) }],
  ['über', { kind: 'name', name: 'über' }],
])('%s is read as what it is', (text, expected) => {
  expect(parseReference(text)).toEqual(expected);
});

test.each([
  '',
  '-',
  '--upload-pack=touch /tmp/x',
  '-main',
  'a/-b',
  'a..b',
  'main...dev',
  'main@{1}',
  'main@{upstream}',
  '@',
  'main:train.py',
  ':/message',
  'main^',
  'main~3',
  'main^{commit}',
  'a b',
  'a\nb',
  'a\0b',
  'a\x1b[31m',
  'a*',
  'a?',
  'a[b',
  'a\\b',
  '.hidden',
  'a/.b',
  'a.',
  'a.lock',
  'a.lock/b',
  '/a',
  'a/',
  'a//b',
  'refs/assay/commits/x',
  'refs/remotes/origin/main',
  'x'.repeat(256),
])('%j is refused as a reference', (text) => {
  expect(() => parseReference(text)).toThrow(expect.objectContaining({ code: 'invalid-reference' }));
});

test('a commit is nothing but a full hash', () => {
  expect(parseCommit('A'.repeat(40))).toBe('a'.repeat(40));
  for (const text of ['main', 'a'.repeat(39), 'a'.repeat(41), `${'a'.repeat(40)}\n`, 'g'.repeat(40)]) {
    expect(() => parseCommit(text)).toThrow(expect.objectContaining({ code: 'invalid-reference' }));
  }
});
