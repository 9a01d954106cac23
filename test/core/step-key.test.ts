import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  environmentInputs,
  loadDataInputs,
  stageInputs,
  stepKeyText,
  type LoadDataIngredients,
  type StageIngredients,
} from '#core/step-key.ts';

const base: StageIngredients = {
  project: 'digits',
  stage: 'train',
  codeDigest: 'c0de',
  command: 'python train.py',
  params: { lr: 0.1, model: { depth: 4 } },
  paramStyle: 'json',
  environmentKey: 'e1',
  upstream: [
    { stage: 'prepare', path: 'a.csv', mode: '100644', sha256: 'aa' },
    { stage: 'prepare', path: 'b.csv', mode: '100644', sha256: 'bb' },
  ],
  data: [
    { name: 'train', to: 'data/train.csv', digest: 'd1' },
    { name: 'pets', to: 'data/pets', digest: 'd2' },
  ],
  seed: 42,
  env: { A: '1', B: '2' },
  secrets: [
    { name: 'HF_TOKEN', version: 1 },
    { name: 'OTHER', version: 2 },
  ],
  cpus: 4,
  threads: { OMP_NUM_THREADS: '4' },
  accelerators: { type: 'h100', count: 1 },
  runner: { kind: 'process', platform: 'linux-x64', libc: 'glibc 2.36', pythonBuild: '3.11.2' },
  network: 'open',
  outputs: ['model/', 'history.json'],
  deterministic: false,
};

const textOf = (ingredients: StageIngredients) => stepKeyText('stage', stageInputs(ingredients));

const changes: Record<keyof StageIngredients, Partial<StageIngredients>[]> = {
  project: [{ project: 'letters' }],
  stage: [{ stage: 'fit' }],
  codeDigest: [{ codeDigest: 'c0df' }],
  command: [{ command: 'python train.py --x' }, { command: ['python', 'train.py'] }],
  params: [
    { params: { lr: 0.2, model: { depth: 4 } } },
    { params: { lr: '0.1', model: { depth: 4 } } },
    { params: {} },
  ],
  paramStyle: [{ paramStyle: 'argv' }],
  environmentKey: [{ environmentKey: 'e2' }, { environmentKey: null }],
  upstream: [
    { upstream: [] },
    { upstream: [{ stage: 'prepare', path: 'a.csv', mode: '100755', sha256: 'aa' }] },
    { upstream: base.upstream.map((file) => ({ ...file, stage: 'other' })) },
  ],
  data: [{ data: [] }, { data: base.data.map((item) => ({ ...item, digest: 'd3' })) }],
  seed: [{ seed: 43 }],
  env: [{ env: { A: '1' } }, { env: { A: '2', B: '1' } }],
  secrets: [{ secrets: [] }, { secrets: [{ name: 'HF_TOKEN', version: 2 }] }],
  cpus: [{ cpus: 8 }, { cpus: null }],
  threads: [{ threads: { OMP_NUM_THREADS: '8' } }],
  accelerators: [
    { accelerators: null },
    { accelerators: { type: 'h100', count: 2 } },
    { accelerators: { type: 'a100', count: 1 } },
  ],
  runner: [
    { runner: { kind: 'docker', imageDigest: 'sha256:1' } },
    { runner: { kind: 'process', platform: 'linux-x64', libc: 'musl 1.2', pythonBuild: '3.11.2' } },
  ],
  network: [{ network: 'none' }],
  outputs: [{ outputs: ['model/'] }, { outputs: [] }],
  deterministic: [{ deterministic: true }],
};

describe('the key of a stage', () => {
  it.each(Object.entries(changes).flatMap(([name, list]) => list.map((change, index) => ({ name, index, change }))))(
    'changes with $name ($index)',
    ({ change }) => {
      expect(textOf({ ...base, ...change })).not.toBe(textOf(base));
    },
  );

  it('is different for each of those changes', () => {
    const texts = Object.values(changes).flatMap((list) => list.map((change) => textOf({ ...base, ...change })));
    expect(new Set(texts).size).toBe(texts.length);
  });

  it('does not depend on the order of sets', () => {
    const shuffled = fc.record({
      upstream: fc.shuffledSubarray([...base.upstream], { minLength: 2 }),
      data: fc.shuffledSubarray([...base.data], { minLength: 2 }),
      secrets: fc.shuffledSubarray([...base.secrets], { minLength: 2 }),
      outputs: fc.shuffledSubarray([...base.outputs], { minLength: 2 }),
      env: fc.constantFrom({ A: '1', B: '2' }, { B: '2', A: '1' }),
    });
    fc.assert(
      fc.property(shuffled, (order) => {
        expect(textOf({ ...base, ...order })).toBe(textOf(base));
      }),
    );
  });

  it('keeps the order of a command and of a list parameter', () => {
    expect(textOf({ ...base, command: ['a', 'b'] })).not.toBe(textOf({ ...base, command: ['b', 'a'] }));
    expect(textOf({ ...base, params: { x: [1, 2] } })).not.toBe(textOf({ ...base, params: { x: [2, 1] } }));
  });
});

describe('the key of build-environment', () => {
  it('changes with lock, Python, base and platform, and is never that of a stage', () => {
    const environment = { lockSha256: 'l', python: '3.11', base: null, platform: 'linux-x64' };
    const variants = [
      environment,
      { ...environment, lockSha256: null },
      { ...environment, python: '3.12' },
      { ...environment, base: 'sha256:1' },
      { ...environment, platform: 'linux-arm64' },
    ].map((variant) => stepKeyText('build-environment', environmentInputs(variant)));
    expect(new Set(variants).size).toBe(variants.length);
    expect(stepKeyText('stage', environmentInputs(environment))).not.toBe(variants[0]);
  });
});

describe('the key of load-data', () => {
  const query = {
    kind: 'query' as const,
    name: 'train',
    to: 'train.csv',
    format: 'csv' as const,
    query: 'select * from t',
    params: {},
    segments: [
      { table: 't', sha256: ['1', '2'] },
      { table: 'u', sha256: ['3'] },
    ],
    engineVersion: '1.5.6',
    asOf: null,
  };
  const dataset = { kind: 'dataset' as const, name: 'pets', to: 'pets', dataset: 'pets', digest: 'd' };
  const keyOf = (sources: LoadDataIngredients['sources']) => stepKeyText('load-data', loadDataInputs({ sources }));

  it('does not depend on the order of names and tables', () => {
    const turned = { ...query, segments: query.segments.toReversed() };
    expect(keyOf([dataset, turned])).toBe(keyOf([query, dataset]));
  });

  it('changes with each ingredient, also with the order of segments', () => {
    const variants = [
      [query],
      [dataset],
      [{ ...query, query: 'select 1' }],
      [{ ...query, asOf: '2026-01-01T00:00:00Z' }],
      [{ ...query, engineVersion: '1.6.0' }],
      [{ ...query, format: 'parquet' as const }],
      [{ ...query, segments: [{ table: 't', sha256: ['2', '1'] }] }],
      [{ ...dataset, digest: 'e' }],
    ].map(keyOf);
    expect(new Set(variants).size).toBe(variants.length);
  });
});
