import { describe, expect, it } from 'vitest';
import { areAssignments, parseAssignments } from '#cli/words/assignments.ts';
import { parseInstant } from '#cli/words/instants.ts';
import { isRunReference, parseRunReference } from '#cli/words/run-reference.ts';

const here = () => Promise.resolve('digits');

describe('a run', () => {
  it('is named by project and number, by id, or in a checkout by its number', async () => {
    expect(await parseRunReference('other/7', here)).toBe('other/7');
    expect(await parseRunReference('42', here)).toBe('digits/42');
    expect(await parseRunReference('#42', here)).toBe('digits/42');
    const id = '01932c07-2d1e-7c3a-9a44-0242ac120002';
    expect(await parseRunReference(id, here)).toBe(id);
  });

  it('is refused with an example when it is spelled in no such way', async () => {
    await expect(parseRunReference('Digits 42', here)).rejects.toThrow(/expected PROJECT\/NUMBER such as digits\/42/);
  });

  it('is told from a stage by its spelling', () => {
    expect(['digits/42', '42', 'train', 'train-2'].map(isRunReference)).toEqual([true, true, false, false]);
  });
});

describe('parameters', () => {
  it('keep numbers, booleans and lists, and stay text otherwise', () => {
    expect(parseAssignments(['lr=0.1', 'deep.layers=[1, 2]', 'on=true', 'name=a=b', 'version=3.10'])).toEqual({
      lr: 0.1,
      'deep.layers': [1, 2],
      on: true,
      name: 'a=b',
      version: '3.10',
    });
  });

  it('are told from a command by every word being an assignment', () => {
    expect(areAssignments(['lr=0.1', '+model.depth=3'])).toBe(true);
    expect(areAssignments(['python', 'train.py', 'lr=0.1'])).toBe(false);
    expect(areAssignments([])).toBe(false);
  });

  it('without a value are refused with an example', () => {
    expect(() => parseAssignments(['lr'])).toThrow(/expected NAME=VALUE/);
  });
});

describe('an instant', () => {
  it('is a date in UTC, or a time with a zone and all its digits', () => {
    expect(parseInstant('2026-03-01')).toBe('2026-03-01T00:00:00Z');
    expect(parseInstant('2026-03-01 12:30+02:00')).toBe('2026-03-01T12:30:00+02:00');
    expect(parseInstant('2026-03-01T12:30:00.123456Z')).toBe('2026-03-01T12:30:00.123456Z');
  });

  it('is refused without a zone, because it would mean another instant elsewhere', () => {
    for (const text of ['2026-03-01T12:30', 'yesterday', '2026-13-01']) {
      expect(() => parseInstant(text)).toThrow(/expected a date, or a date and time with a zone/);
    }
  });
});
