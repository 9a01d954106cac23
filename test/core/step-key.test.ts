import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readParamsFile } from '#contract/params-file.ts';
import { flattenParams, narrowParams, type Overrides, parseOverride, resolveParams } from '#core/params.ts';
import type { Params, ParamValue } from '#core/project.ts';
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
  initFrom: null,
  seed: 42,
  env: { A: '1', B: '2' },
  secrets: [
    { name: 'HF_TOKEN', version: 1 },
    { name: 'OTHER', version: 2 },
  ],
  cpus: 4,
  threads: 4,
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
  initFrom: [{ initFrom: 'd4' }],
  seed: [{ seed: 43 }],
  env: [{ env: { A: '1' } }, { env: { A: '2', B: '1' } }],
  secrets: [{ secrets: [] }, { secrets: [{ name: 'HF_TOKEN', version: 2 }] }],
  cpus: [{ cpus: 8 }, { cpus: null }],
  threads: [{ threads: 8 }],
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

/** The key of a stage whose parameters come from these texts. */
function keyOfTexts(file: string, text: string, given: readonly string[] = [], names: string[] | null = null): string {
  const overrides: Overrides = Object.fromEntries(
    given.map(parseOverride).map(({ name, value }): [string, ParamValue] => [name, value]),
  );
  const params = resolveParams(readParamsFile(file, text), overrides, 'json');
  return textOf({ ...base, params: narrowParams(params, names) });
}

const spellings: Record<string, readonly string[]> = {
  '1': ['1', '1.0', '1e0', '10e-1', '1.000'],
  '0.1': ['0.1', '1e-1', '0.10', '1.0E-1'],
  '-20': ['-20', '-2e1', '-20.0'],
  '0': ['0', '0.0', '0e5', '-0'],
};
const words = ['é', 'naïve', 'Å', '한글', 'a b', '10', 'lr', 'x-y'];
const leaf: fc.Arbitrary<ParamValue> = fc.oneof(
  fc.constantFrom(...Object.keys(spellings).map(Number)),
  fc.constantFrom(...words, 'é: [a]', '1.0'),
  fc.boolean(),
  fc.constant(null),
);
const { tree } = fc.letrec<{ tree: Params; node: ParamValue }>((tie) => ({
  tree: fc.dictionary(fc.constantFrom(...words), tie('node'), { maxKeys: 5 }),
  node: fc.oneof({ maxDepth: 3 }, leaf, fc.array(leaf, { maxLength: 3 }), tie('tree')),
}));

/** One of the many texts of a value: keys in any order, letters in either form, numbers in any spelling. */
function spelled(value: ParamValue, pick: (max: number) => number): string {
  if (typeof value === 'number') {
    const known = spellings[String(value)] ?? [String(value)];
    return known[pick(known.length)] ?? String(value);
  }
  if (typeof value === 'string') return JSON.stringify(value.normalize(pick(2) === 0 ? 'NFC' : 'NFD'));
  if (Array.isArray(value)) return `[${value.map((item) => spelled(item, pick)).join(', ')}]`;
  if (value === null || typeof value === 'boolean') return String(value);
  const entries = Object.entries(value).toSorted(() => pick(3) - 1);
  return `{${entries.map(([key, item]) => `${spelled(key, pick)}: ${spelled(item, pick)}`).join(', ')}}`;
}

describe('the key of a stage, from the texts of its parameters', () => {
  const dice = fc.array(fc.nat(), { minLength: 8, maxLength: 64 }).map((numbers) => {
    let at = 0;
    return (max: number) => (numbers[at++ % numbers.length] ?? 0) % max;
  });

  it('depends on no order, no form of Unicode and no spelling of a number, in JSON as in YAML', () => {
    fc.assert(
      fc.property(tree, dice, (params, pick) => {
        const plain = keyOfTexts('params.json', JSON.stringify(params));
        expect(keyOfTexts('params.json', spelled(params, pick))).toBe(plain);
        expect(keyOfTexts('params.yaml', `# a note\n${spelled(params, pick)}\n`)).toBe(plain);
      }),
      { numRuns: 40 },
    );
    const block = 'model:\n  depth: 4.0 # deep\n  "na\u0069\u0308ve": 1.0e-1\nlr: +1.\n';
    const json = '{"lr": 1, "model": {"na\u00efve": 0.1, "depth": 4}}';
    expect(keyOfTexts('params.yaml', block)).toBe(keyOfTexts('params.json', json));
  });

  it('is that of a file that says the same, when a run overrides', () => {
    const file = '{"lr": 0.5, "model": {"na\u00efve": 1, "on": true}, "name": "x", "list": [1, 2]}';
    const wanted = keyOfTexts(
      'p.json',
      '{"lr": 1, "model": {"na\u00efve": 2, "on": false}, "name": "1.0", "list": [3]}',
    );
    for (const one of ['1', '1.0', '1e0', '10e-1']) {
      const given = [`lr=${one}`, 'model.nai\u0308ve=2.0', 'model.on=False', 'name=1.0', 'list=[3.0]'];
      expect(keyOfTexts('p.json', file, given)).toBe(wanted);
      expect(keyOfTexts('p.json', file, given.toReversed())).toBe(wanted);
    }
    expect(keyOfTexts('p.json', file, ['lr=0.50'])).toBe(keyOfTexts('p.json', file));
  });

  it('changes with every value that is another one', () => {
    fc.assert(
      fc.property(tree, fc.nat(), (params, n) => {
        const leaves = flattenParams(params).filter(([name]) => !/10|a b/.test(name));
        fc.pre(leaves.length > 0);
        const [name] = leaves[n % leaves.length] ?? [''];
        const before = narrowParams(params, [name]);
        const changed = resolveParams(params, {}, 'json');
        const path = name.split('.');
        const copy = structuredClone(changed);
        const owner = path.slice(0, -1).reduce<Params>((map, part) => map[part] as Params, copy);
        owner[path.at(-1) ?? ''] = 'another value';
        expect(textOf({ ...base, params: copy })).not.toBe(textOf({ ...base, params }));
        expect(textOf({ ...base, params: narrowParams(copy, [name]) })).not.toBe(textOf({ ...base, params: before }));
      }),
    );
  });

  it('narrowed to some names, changes with those alone', () => {
    const values = fc.record({ lr: leaf, model: fc.record({ depth: leaf, width: leaf }), other: leaf });
    fc.assert(
      fc.property(values, values, (one, two) => {
        const key = (params: Params) => keyOfTexts('p.yaml', JSON.stringify(params), [], ['lr', 'model.depth']);
        const isSame = JSON.stringify([one.lr, one.model.depth]) === JSON.stringify([two.lr, two.model.depth]);
        expect(key(one) === key(two)).toBe(isSame);
        expect(key({ ...one, other: two.other, model: { ...one.model, width: two.model.width } })).toBe(key(one));
      }),
    );
  });

  it('is not made of names that nobody can tell apart', () => {
    const twice = '{"model": [{"nai\u0308ve": 1, "na\u00efve": 2}]}';
    expect(() => keyOfTexts('p.json', twice)).toThrow('Found the parameter "naïve" twice');
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
