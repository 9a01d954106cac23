import { describe, expect, it } from 'vitest';
import { readParamsFile, writeParamsFile } from '#contract/params-file.ts';
import type { Params } from '#core/project.ts';

describe('a parameter file', () => {
  it('is read from JSON and YAML', () => {
    expect(readParamsFile('input.json', '{"lr": 0.1, "m": {"d": [1]}}')).toEqual({ lr: 0.1, m: { d: [1] } });
    expect(readParamsFile('params.yaml', 'lr: 1e-3\nm: &m {d: 1}\nn: {<<: *m, e: 2}\n')).toEqual({
      lr: 0.001,
      m: { d: 1 },
      n: { d: 1, e: 2 },
    });
    expect(readParamsFile('params.yaml', '# nothing yet\n')).toEqual({});
  });

  it.each([
    ['params.yaml', 'a: [1\nb: 2', /^params\.yaml:2 /],
    ['input.json', '[1]', /input\.json:1 found no map/],
    ['params.yaml', 'a: .nan', /found NaN or an infinity at a/],
    ['params.yaml', 'a: 1\na: 2', /params\.yaml:2/],
  ])('that holds no parameters is refused: %s %s', (path, text, message) => {
    expect(() => readParamsFile(path, text)).toThrow(message);
  });

  it('is written as JSON with the order and the spelling of numbers kept', () => {
    const original =
      '{\n\t"lr": 1.0, "big": 12345678901234567890,\n\t"m": {"2": 1e-3, "1": "x", "list": [1.0, 2]}, "gone": []\n}';
    const params = change(readParamsFile('input.json', original), (copy) => {
      copy.m = { ...(copy.m as Params), '1': 'y' };
      delete copy.gone;
    });
    const text = writeParamsFile('input.json', original, params);
    expect(text).toBe(`{
  "lr": 1.0,
  "big": 12345678901234567890,
  "m": {
    "2": 1e-3,
    "1": "y",
    "list": [
      1.0,
      2
    ]
  }
}
`);
    expect(JSON.parse(text)).toEqual(params);
  });

  it('is written as YAML with its comments', () => {
    const original = '# tuned by hand\nlr: 1.0  # rate\nmodel:\n  depth: 2\n  width: 3\nnames: [a]\ngone: 1\n';
    const params = change(readParamsFile('p.yaml', original), (copy) => {
      copy.model = { depth: 4, width: 3 };
      copy.names = ['b', 'c'];
      delete copy.gone;
    });
    const text = writeParamsFile('p.yaml', original, params);
    expect(text).toContain('# tuned by hand\nlr: 1.0 # rate\nmodel:\n  depth: 4\n');
    expect(readParamsFile('p.yaml', text)).toEqual(params);
  });

  it('is written through merges and aliases without changing what shares them', () => {
    const original = 'base: &b {x: 1, y: 2}\nchild: {<<: *b, z: 3}\nother: *b\n';
    const params = change(readParamsFile('p.yaml', original), (copy) => {
      copy.child = { x: 9, y: 2, z: 3 };
      copy.other = { x: 5, y: 2 };
    });
    const text = writeParamsFile('p.yaml', original, params);
    expect(readParamsFile('p.yaml', text)).toEqual(params);
  });

  it('is left byte for byte as it is when nothing changes', () => {
    const original = 'lr:   1.0\n\n# end\n';
    expect(writeParamsFile('p.yaml', original, readParamsFile('p.yaml', original))).toBe(original);
    const json = '{"lr":1.0}';
    expect(writeParamsFile('p.json', json, readParamsFile('p.json', json))).toBe(json);
  });
});

function change(params: Params, edit: (copy: Params) => void): Params {
  const copy = structuredClone(params);
  edit(copy);
  return copy;
}
