import { expect, test } from 'vitest';
import { type CodeChange, joinClauses, stepDifferences } from '#core/step-difference.ts';

const stage = {
  project: 'digits',
  stage: 'train',
  codeDigest: 'a',
  command: 'python train.py',
  params: { lr: 0.1, model: { depth: 3 } },
  paramStyle: 'json',
  environmentKey: 'e1',
  upstream: [{ stage: 'prepare', path: 'features.npy', mode: '100644', sha256: '1' }],
  data: [{ name: 'sales', to: 'data/sales.csv', digest: 'd1' }],
  seed: 1,
  env: { MODE: 'fast' },
  secrets: [{ name: 'TOKEN', version: 1 }],
  cpus: 2,
  threads: 2,
  accelerators: null,
  runner: { kind: 'process', platform: 'linux-x86_64', libc: 'glibc_2.36', pythonBuild: '3.11.7' },
  network: 'open',
  outputs: ['model/'],
  deterministic: false,
};

const words = (change: object, code: CodeChange[] | null = null) =>
  stepDifferences('stage', stage, { ...stage, ...change }, { code }).map(({ text }) => text);

test('equal ingredients differ in nothing, whatever the spelling of a number or the order of keys', () => {
  expect(words({})).toEqual([]);
  expect(words({ params: { model: { depth: 3.0 }, lr: 1e-1 } })).toEqual([]);
});

test('files are named, with how much of them changed', () => {
  const code: CodeChange[] = [
    { path: 'lib/model.py', change: 'changed', lines: 2 },
    { path: 'weights.bin', change: 'changed', lines: null },
    { path: 'new.py', change: 'added' },
    { path: 'old.py', change: 'removed' },
    { path: 'train.sh', change: 'mode' },
    { path: 'notes.txt', change: 'excluded' },
  ];
  expect(words({ codeDigest: 'b' }, code)).toEqual([
    'lib/model.py changed (2 lines)',
    'weights.bin changed',
    'new.py was added',
    'old.py was removed',
    'the mode of train.sh changed',
    'notes.txt belongs to its code no more',
  ]);
  expect(words({ codeDigest: 'b' })).toEqual(['its code changed']);
});

test('parameters are told by their dotted names, old and new', () => {
  expect(words({ params: { lr: 0.05, model: { depth: 3 } } })).toEqual(['lr 0.1 → 0.05']);
  expect(words({ params: { lr: '0.1', model: { depth: 3 } } })).toEqual(['lr 0.1 → "0.1"']);
  expect(words({ params: { lr: null, model: { width: 8 } } })).toEqual([
    'lr 0.1 → null',
    'model.depth is gone',
    'model.width 8 is new',
  ]);
});

test('every other ingredient has its words, and values of variables stay untold', () => {
  expect(
    words({
      command: 'python train.py --fast',
      environmentKey: 'e2',
      upstream: [{ stage: 'prepare', path: 'features.npy', mode: '100644', sha256: '2' }],
      data: [{ name: 'sales', to: 'data/sales.csv', digest: 'd2' }],
      seed: 2,
      env: { MODE: 'slow', OTHER: 'x' },
      secrets: [
        { name: 'KEY', version: 1 },
        { name: 'TOKEN', version: 2 },
      ],
      cpus: null,
      threads: 1,
      accelerators: { type: 'h100', count: 2 },
      runner: { ...stage.runner, pythonBuild: '3.11.9' },
      network: 'none',
      outputs: ['model/', 'report.json'],
      deterministic: true,
      madeOf: 'something later',
    }),
  ).toEqual([
    'its command changed',
    'its environment changed',
    'the data sales changed',
    'prepare made other files (features.npy)',
    'seed 1 → 2',
    'the variable MODE changed',
    'the variable OTHER is new',
    'the secret TOKEN changed (version 1 → 2)',
    'the secret KEY is new',
    'accelerators none → 2 × h100',
    'cpus 2 → none',
    'threads 2 → 1',
    'Python 3.11.7 → 3.11.9',
    'network open → none',
    'report.json is an output now',
    'deterministic false → true',
    'madeOf none → "something later"',
  ]);
});

test('environments and data are compared as well', () => {
  const environment = { lockSha256: 'l1', python: '3.11.7', base: null, platform: 'linux-x86_64-glibc_2.36' };
  const other = { ...environment, lockSha256: 'l2', python: '3.12.1' };
  expect(stepDifferences('build-environment', environment, other).map(({ text }) => text)).toEqual([
    'the lock changed',
    'Python 3.11.7 → 3.12.1',
  ]);
  const query = { kind: 'query', name: 'sales', to: 'd.csv', query: 'select 1', params: { n: 1 }, segments: [] };
  const sources = { sources: [query, { kind: 'dataset', name: 'images', to: 'i', dataset: 'images', digest: '1' }] };
  const changed = { sources: [{ ...query, query: 'select 2', params: { n: 2 } }] };
  expect(stepDifferences('load-data', sources, changed).map(({ text }) => text)).toEqual([
    'data sales: the query changed',
    'data sales: n 1 → 2',
    'the data images is gone',
  ]);
});

test('clauses are joined as people do', () => {
  expect(joinClauses(['a'])).toBe('a');
  expect(joinClauses(['a', 'b'])).toBe('a and b');
  expect(joinClauses(['a', 'b', 'c'])).toBe('a, b and c');
  expect(joinClauses(['a', 'b', 'c', 'd', 'e'])).toBe('a, b, c, d and e');
  expect(joinClauses(['a', 'b', 'c', 'd', 'e', 'f'])).toBe('a, b, c, d and 2 more');
});
