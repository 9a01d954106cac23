import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalJson, type Json } from '#core/canonical.ts';

const json = fc
  .jsonValue({ maxDepth: 4 })
  .filter((value) => hasDistinctKeys(value as Json))
  .map((value) => value as Json);

describe('canonical JSON', () => {
  it('does not depend on the order in which keys were written', () => {
    fc.assert(
      fc.property(json, (value) => {
        expect(canonicalJson(reversed(value))).toBe(canonicalJson(value));
      }),
    );
  });

  it('does not depend on the Unicode form of texts and keys', () => {
    fc.assert(
      fc.property(json, (value) => {
        expect(canonicalJson(inForm(value, 'NFD'))).toBe(canonicalJson(inForm(value, 'NFC')));
      }),
    );
  });

  it('does not depend on how a number is spelled', () => {
    const spellings = ['1', '1.0', '1e0', '10e-1', '0.1e1'].map((text) => canonicalJson(JSON.parse(text) as Json));
    expect(new Set(spellings).size).toBe(1);
    expect(canonicalJson(-0)).toBe(canonicalJson(0));
  });

  it('reads back as the same value', () => {
    fc.assert(
      fc.property(json, (value) => {
        const text = canonicalJson(value);
        expect(canonicalJson(JSON.parse(text) as Json)).toBe(text);
      }),
    );
  });

  it('tells different values apart', () => {
    const values: Json[] = [null, false, 0, '', '0', 'null', [], {}, [0], [[0]], { '': 0 }, { a: null }, [null], '[]'];
    expect(new Set(values.map(canonicalJson)).size).toBe(values.length);
  });

  it('refuses what JSON has no text for', () => {
    const impossible: unknown[] = [
      Number.NaN,
      Number.POSITIVE_INFINITY,
      undefined,
      () => 0,
      1n,
      new Date(),
      { a: undefined },
    ];
    for (const value of impossible) expect(() => canonicalJson(value as Json)).toThrow(TypeError);
  });

  it('refuses two keys that are the same text', () => {
    expect(() => canonicalJson({ '\u00e9': 1, 'e\u0301': 2 })).toThrow(/same text/);
  });
});

function reversed(value: Json): Json {
  return mapped(value, (text) => text, true);
}

function inForm(value: Json, form: 'NFC' | 'NFD'): Json {
  return mapped(value, (text) => text.normalize(form), false);
}

function mapped(value: Json, text: (text: string) => string, reverse: boolean): Json {
  if (typeof value === 'string') return text(value);
  if (value === null || typeof value !== 'object') return value;
  if (isList(value)) return value.map((item) => mapped(item, text, reverse));
  const entries = Object.entries(value).map(([key, item]) => [text(key), mapped(item, text, reverse)] as const);
  return Object.fromEntries(reverse ? entries.reverse() : entries);
}

function hasDistinctKeys(value: Json): boolean {
  if (value === null || typeof value !== 'object') return true;
  if (isList(value)) return value.every(hasDistinctKeys);
  const keys = Object.keys(value).filter((key) => key !== '__proto__');
  const distinct = new Set(keys.map((key) => key.normalize('NFC'))).size === Object.keys(value).length;
  return distinct && Object.values(value).every(hasDistinctKeys);
}

function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value);
}
