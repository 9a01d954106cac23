import { describe, expect, it } from 'vitest';
import { DomainError } from '#core/errors.ts';
import { renderParams } from '#core/param-styles.ts';
import { flattenParams, narrowParams, parseOverride, resolveParams } from '#core/params.ts';
import type { Params } from '#core/project.ts';

const declared: Params = {
  lr: 0.1,
  epochs: 3,
  name: 'base',
  version: '3.1',
  verbose: false,
  layers: [64, 32],
  model: { depth: 2, head: { kind: 'linear' } },
  note: null,
  'a.b': 1,
};

describe('an override', () => {
  it.each([
    ['lr=0.1', 'lr', 0.1],
    ['model.depth=4', 'model.depth', 4],
    ['on=true', 'on', true],
    ['on=False', 'on', false],
    ['layers=[1, 2]', 'layers', [1, 2]],
    ['x=null', 'x', null],
    ['name=base', 'name', 'base'],
    ['expr=a=b', 'expr', 'a=b'],
    ['empty=', 'empty', ''],
    ['version=3.10', 'version', '3.10'],
    ['id=007', 'id', '007'],
    ['big=12345678901234567890', 'big', '12345678901234567890'],
    ['quoted="x"', 'quoted', '"x"'],
  ])('is read: %s', (text, name, value) => {
    expect(parseOverride(text)).toEqual({ name, value });
  });

  it.each(['lr', '=1', ''])('without a name or value is refused: %s', (text) => {
    expect(() => parseOverride(text)).toThrow(/expected NAME=VALUE/);
  });
});

describe('resolving parameters', () => {
  it('takes what is declared and lays the overrides over it', () => {
    const resolved = resolveParams(declared, { lr: 0.5, 'model.depth': 4, 'model.head.kind': 'mlp', 'a.b': 2 }, 'json');
    expect(resolved).toEqual({ ...declared, lr: 0.5, model: { depth: 4, head: { kind: 'mlp' } }, 'a.b': 2 });
    expect(declared.lr).toBe(0.1);
  });

  it('reads a text as the declared type', () => {
    const resolved = resolveParams(
      declared,
      { lr: '1e-3', version: 3.2, name: '42', verbose: 'true', layers: '[1]', note: '7', epochs: 'auto' },
      'json',
    );
    expect(resolved).toMatchObject({
      lr: 0.001,
      version: '3.2',
      name: '42',
      verbose: true,
      layers: [1],
      note: 7,
      epochs: 'auto',
    });
  });

  it('changes one item of a list', () => {
    expect(resolveParams(declared, { 'layers.1': 16 }, 'json').layers).toEqual([64, 16]);
  });

  it('refuses every wrong override at once, naming the nearest', () => {
    const overrides = { 'model.dept': 4, lerning_rate: 1, layers: 3, model: 'x', '__proto__.x': 1 };
    const error = refusal(() => resolveParams(declared, overrides, 'json'));
    expect(error.code).toBe('invalid-parameters');
    expect(error.details.map((detail) => detail.path)).toEqual(Object.keys(overrides));
    expect(error.message).toContain('Did you mean "model.depth"?');
    expect(error.message).toContain('expected a list in JSON, such as [64,32]');
    expect(({} as Record<string, unknown>).x).toBeUndefined();
  });

  it('accepts any name when nothing declares them, except where only a file could carry them', () => {
    expect(resolveParams(null, { lr: 0.1 }, 'argv')).toEqual({ lr: 0.1 });
    expect(refusal(() => resolveParams(null, { lr: 0.1 }, 'json')).message).toContain('declares no parameters');
    expect(resolveParams(null, {}, 'json')).toEqual({});
  });

  it('leaves names to hydra when its configuration is composed or a name is marked as new', () => {
    expect(resolveParams({ defaults: ['x'], lr: 1 }, { 'optimizer.lr': 2 }, 'hydra')['optimizer.lr']).toBe(2);
    expect(resolveParams({ lr: 1 }, { '+new': 2 }, 'hydra')['+new']).toBe(2);
    expect(() => resolveParams({ lr: 1 }, { new: 2 }, 'hydra')).toThrow(/does not declare/);
  });

  it('narrows to what a stage asks for, with everything below a name', () => {
    expect(narrowParams(declared, ['model', 'lr', 'layers', 'missing'])).toEqual({
      lr: 0.1,
      layers: [64, 32],
      model: declared.model,
    });
    expect(narrowParams(declared, ['model.head.kind'])).toEqual({ model: { head: { kind: 'linear' } } });
    expect(narrowParams(declared, null)).toBe(declared);
  });

  it('flattens to dotted names', () => {
    expect(flattenParams({ a: { b: { c: 1 }, d: [1] }, e: {} })).toEqual([
      ['a.b.c', 1],
      ['a.d', [1]],
      ['e', {}],
    ]);
  });
});

describe('rendering parameters', () => {
  const params: Params = {
    lr: 0.1,
    model: { depth: 4 },
    on: true,
    off: false,
    none: null,
    tags: ['a', 'b'],
    text: "it's",
  };

  it('appends flags for argv', () => {
    const rendered = renderParams('argv', ['python', 'train.py'], params, {});
    expect(rendered.command).toEqual([
      'python',
      'train.py',
      '--lr',
      '0.1',
      '--model.depth',
      '4',
      '--on',
      '--tags',
      'a',
      '--tags',
      'b',
      '--text',
      "it's",
    ]);
    expect(renderParams('argv', 'python train.py', { text: "it's; rm -rf $HOME", dash: '-x' }, {}).command).toBe(
      `python train.py --text 'it'\\''s; rm -rf $HOME' --dash=-x`,
    );
  });

  it('sets variables for env, but never those the process lives by', () => {
    const { command, env } = renderParams(
      'env',
      'python train.py',
      { lr: 0.1, path: '/x', ld_preload: 'y', a: { b: [1] } },
      {},
    );
    expect(command).toBe('python train.py');
    expect(env).toEqual({
      LR: '0.1',
      ASSAY_PARAM_LR: '0.1',
      ASSAY_PARAM_PATH: '/x',
      ASSAY_PARAM_LD_PRELOAD: 'y',
      A_B: '[1]',
      ASSAY_PARAM_A_B: '[1]',
    });
  });

  it('tells hydra only what the run changed, in its own grammar', () => {
    const overrides = { 'model.depth': 4, '+new': 'a b', flag: true, list: [1, 'x'], '~gone': null };
    const resolved = resolveParams(null, overrides, 'hydra');
    expect(renderParams('hydra', ['python', 'train.py'], resolved, overrides).command).toEqual([
      'python',
      'train.py',
      'model.depth=4',
      "+new='a b'",
      'flag=true',
      'list=[1,x]',
      '~gone',
    ]);
    expect(renderParams('hydra', 'x', { lr: 0.1 }, {}).command).toBe('x');
    const nested = resolveParams({ model: { depth: 2, width: 3 } }, { 'model.depth': 4 }, 'hydra');
    expect(renderParams('hydra', 'x', nested, { 'model.depth': 4 }).command).toBe('x model.depth=4');
  });

  it('fills templates as MLflow does', () => {
    const command = 'python train.py -r {alpha} --data {path} {unknown}';
    expect(renderParams('template', command, { alpha: 0.5, path: 'a b', extra: 1 }, {}).command).toBe(
      "python train.py -r 0.5 --data 'a b' {unknown} --extra 1",
    );
    expect(() => renderParams('template', '{alpha}', { alpha: null }, {})).toThrow(/-P alpha=VALUE/);
  });

  it('changes nothing about the command when a file carries them', () => {
    expect(renderParams('json', 'python train.py', params, {})).toEqual({ command: 'python train.py', env: {} });
  });
});

function refusal(run: () => unknown): DomainError {
  try {
    run();
  } catch (error) {
    if (error instanceof DomainError) return error;
    throw error;
  }
  throw new Error('expected a refusal');
}
