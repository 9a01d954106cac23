import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isCron } from '#core/cron.ts';
import { projectNameFrom, projectNamePattern, stageNameFrom, stageNamePattern } from '#core/names.ts';
import { didYouMean, nearest } from '#core/nearest.ts';
import { formatDuration, parseAccelerators, parseCpus, parseDuration, parseMemoryGib } from '#core/quantities.ts';
import { defaultSeed } from '#core/seed.ts';

describe('amounts', () => {
  it.each([
    ['2h', 7_200_000],
    ['90s', 90_000],
    ['1h30m', 5_400_000],
    ['1.5h', 5_400_000],
    ['7d', 604_800_000],
    ['1h 5m', 3_900_000],
    [30, 30_000],
  ])('read the duration %s', (text, ms) => expect(parseDuration(text)).toBe(ms));

  it.each(['', 'h', '2 hours', '-1h', '30m1h', '1w', Number.NaN, -1])('refuse the duration %s', (text) =>
    expect(parseDuration(text)).toBeNull(),
  );

  it('write durations that read back', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1_000_000 }), (seconds) => {
        expect(parseDuration(formatDuration(seconds * 1000))).toBe(seconds * 1000);
      }),
    );
  });

  it('read memory, cores and accelerators as SkyPilot spells them', () => {
    expect([16, '16', '32+', '16GB', '16 GiB', '512MB', '1t', '1.5g'].map(parseMemoryGib)).toEqual([
      16, 16, 32, 16, 16, 0.5, 1024, 1.5,
    ]);
    expect(['lots', '0', 0, -1, '16XB', ''].map(parseMemoryGib)).toEqual([null, null, null, null, null, null]);
    expect([4, '4', '4+', 0.5, 'x', 0].map(parseCpus)).toEqual([4, 4, 4, 0.5, null, null]);
    expect(parseAccelerators('H100:8')).toEqual({ type: 'h100', count: 8 });
    expect(parseAccelerators('A100-80GB')).toEqual({ type: 'a100-80gb', count: 1 });
    expect(parseAccelerators(2)).toEqual({ type: 'gpu', count: 2 });
    expect(['none', 0, 'gpu:0'].map(parseAccelerators)).toEqual([null, null, null]);
    expect(['', ':1', 'H100:x', 'H100:1:2', 1.5, 1000].map(parseAccelerators)).toEqual(Array.from({ length: 6 }));
  });

  it('know a cron expression', () => {
    for (const text of ['0 3 * * *', '*/15 0-6,22 1 jan-mar MON-FRI', '@daily', '0 0 * * 7'])
      expect(isCron(text)).toBe(true);
    for (const text of ['', '0 25 * * *', '0 3 * *', '60 * * * *', '*/0 * * * *', 'a b c d e', '1--2 * * * *'])
      expect(isCron(text)).toBe(false);
  });
});

describe('names', () => {
  it('are made from any text, or not at all', () => {
    expect([projectNameFrom('My Digits (v2)'), projectNameFrom('café'), projectNameFrom('…')]).toEqual([
      'my-digits-v2',
      'cafe',
      null,
    ]);
    expect([stageNameFrom('2. Train@GPU'), stageNameFrom('123')]).toEqual(['train-gpu', null]);
  });

  it('are always valid when made', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary-ascii', maxLength: 100 }), (text) => {
        const [project, stage] = [projectNameFrom(text), stageNameFrom(text)];
        expect(project === null || projectNamePattern.test(project)).toBe(true);
        expect(stage === null || stageNamePattern.test(stage)).toBe(true);
      }),
    );
  });

  it('are suggested when they are near', () => {
    expect(nearest('comand', ['needs', 'command', 'commands'])).toBe('command');
    expect(nearest('tiemout', ['timeout', 'time'])).toBe('timeout');
    expect(nearest('Accuracy', ['accuracy'])).toBe('accuracy');
    expect(nearest('x', ['yz', 'command'])).toBeNull();
    expect(didYouMean('foo', ['completely-different'])).toBe('');
  });
});

describe('the default seed', () => {
  it('is stable and small', () => {
    expect(defaultSeed('digits')).toBe(defaultSeed('digits'));
    expect(defaultSeed('digits')).not.toBe(defaultSeed('tiny'));
    fc.assert(
      fc.property(fc.string(), (name) => {
        const seed = defaultSeed(name);
        expect(Number.isInteger(seed) && seed >= 0 && seed < 2 ** 31).toBe(true);
      }),
    );
  });

  it('never changes for a name', () => {
    expect(defaultSeed('digits')).toMatchInlineSnapshot(`1319991359`);
  });
});
