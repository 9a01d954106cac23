import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { evaluateGate, gateNamesChampion, gateSentence, type Champion } from '#core/gate.ts';
import { isGateRule, parseGateRule } from '#core/gate-rule.ts';
import type { StageMetric } from '#core/metrics.ts';
import type { MetricDeclaration } from '#core/project.ts';

function metric(key: string, last: number, stage = 'evaluate', others: Partial<StageMetric> = {}): StageMetric {
  return { key, stage, last, min: last, max: last, count: 1, lastStep: 0, ...others };
}

function declaration(others: Partial<MetricDeclaration>): MetricDeclaration {
  return { goal: null, from: null, use: 'last', tolerance: null, ...others };
}

function gate(rules: string[], metrics: StageMetric[], champion: Champion | null = null, declare = {}) {
  return evaluateGate({ rules, metrics, declare, champion });
}

const champion: Champion = { model: 'digits', version: 3, metrics: [metric('accuracy', 0.96)], sameData: true };

describe('a gate rule', () => {
  it.each([
    ['accuracy >= 0.95', 'accuracy', '>=', { kind: 'number', value: 0.95 }],
    ['loss<=.4', 'loss', '<=', { kind: 'number', value: 0.4 }],
    ['val/loss < -1e-3', 'val/loss', '<', { kind: 'number', value: -0.001 }],
    ['accuracy >= champion', 'accuracy', '>=', { kind: 'champion', offset: 0 }],
    ['accuracy >= champion - 0.005', 'accuracy', '>=', { kind: 'champion', offset: -0.005 }],
    ['accuracy >= champion-0.005', 'accuracy', '>=', { kind: 'champion', offset: -0.005 }],
    ['loss <= champion +0.1', 'loss', '<=', { kind: 'champion', offset: 0.1 }],
    ['loss <= champion- 0.1', 'loss', '<=', { kind: 'champion', offset: -0.1 }],
    ['val_accuracy > train_accuracy', 'val_accuracy', '>', { kind: 'metric', key: 'train_accuracy' }],
    ['"val accuracy" != 1', 'val accuracy', '!=', { kind: 'number', value: 1 }],
    ['  a.b == 2  ', 'a.b', '==', { kind: 'number', value: 2 }],
  ])('is read: %s', (text, key, comparison, threshold) => {
    expect(parseGateRule(text)).toEqual({ text, key, comparison, threshold });
  });

  it.each([
    ['', 0, 'the end of the rule', 'the name of a metric'],
    ['0.95 <= accuracy', 0, '"0.95"', 'the name of a metric'],
    ['accuracy', 8, 'the end of the rule', 'one of >= <= > < == !='],
    ['accuracy => 0.9', 9, '"=>"', 'one of >= <= > < == !='],
    ['accuracy = 0.9', 9, '"="', 'one of >= <= > < == !='],
    ['accuracy >=', 11, 'the end of the rule', 'a number, champion, or the name of a metric'],
    ['accuracy >= 95%', 12, '"95%"', 'a number, champion, or the name of a metric'],
    ['accuracy >= champion * 2', 21, '"*"', '+ or - and a number, or the end of the rule'],
    ['accuracy >= champion - x', 23, '"x"', 'a number'],
    ['accuracy >= champion -', 22, 'the end of the rule', 'a number'],
    ['accuracy >= 0.9 and loss < 1', 16, '"and"', 'the end of the rule'],
    ['champion >= accuracy', 0, '"champion"', 'the name of a metric; champion stands on the right'],
  ])('is refused with the place and what was expected: %s', (text, position, found, expected) => {
    expect(parseGateRule(text)).toEqual({ position, found, expected });
  });

  it('never throws, whatever is written', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary-ascii' }), (text) => {
        expect(parseGateRule(text)).toBeTypeOf('object');
      }),
    );
  });

  it('reads back every number it is given', () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (value) => {
        const rule = parseGateRule(`m >= ${value}`);
        expect(isGateRule(rule) && rule.threshold).toEqual({ kind: 'number', value: Object.is(value, -0) ? 0 : value });
      }),
    );
  });
});

describe('the gate', () => {
  it('is none without rules', () => {
    expect(gate([], [metric('accuracy', 1)])).toEqual({ result: 'none', rules: [], champion: null });
  });

  it('passes when every rule holds and fails when one does not', () => {
    const metrics = [metric('accuracy', 0.96), metric('loss', 0.5)];
    expect(gate(['accuracy >= 0.95'], metrics).result).toBe('passed');
    const report = gate(['accuracy >= 0.95', 'loss <= 0.4'], metrics);
    expect(report.result).toBe('failed');
    expect(report.rules[1]).toMatchObject({ passed: false, value: 0.5, threshold: 0.4, stage: 'evaluate' });
    expect(gateSentence(report)).toBe('failed: loss <= 0.4 (0.5)');
  });

  it('fails on a metric nobody reported and names the nearest key', () => {
    const [rule] = gate(['acuracy >= 0.9'], [metric('accuracy', 1)]).rules;
    expect(rule).toMatchObject({ passed: false, value: null, threshold: null });
    expect(rule?.note).toBe('No stage reported acuracy. Did you mean "accuracy"?');
    expect(gate(['accuracy >= 1'], [metric('test.accuracy', 1)]).rules[0]?.note).toContain('"test.accuracy"');
    expect(gate(['accuracy >= 1'], []).rules[0]?.note).toContain('no metric at all');
  });

  it('never passes with NaN on either side', () => {
    const metrics = [metric('bad', Number.NaN), metric('good', 1)];
    for (const comparison of ['>=', '<=', '>', '<', '==', '!=']) {
      expect(gate([`bad ${comparison} 0`], metrics).result).toBe('failed');
      expect(gate([`good ${comparison} bad`], metrics).result).toBe('failed');
    }
    expect(gate(['bad >= 0'], metrics).rules[0]?.value).toBe('NaN');
  });

  it('compares infinities and reports them as text', () => {
    const report = gate(['loss <= 1'], [metric('loss', Number.POSITIVE_INFINITY)]);
    expect(report.rules[0]).toMatchObject({ passed: false, value: 'Infinity' });
    expect(JSON.parse(JSON.stringify(report))).toEqual(report);
  });

  it('passes a champion rule without a champion, and says so', () => {
    const report = gate(['accuracy >= champion - 0.005'], [metric('accuracy', 0.1)]);
    expect(report).toMatchObject({ result: 'passed', champion: null });
    expect(report.rules[0]?.note).toContain('no champion yet');
  });

  it('compares with the champion as people read decimals', () => {
    const exact = { ...champion, metrics: [metric('accuracy', 0.96)] };
    expect(gate(['accuracy >= champion - 0.005'], [metric('accuracy', 0.955)], exact).result).toBe('passed');
    expect(gate(['accuracy > champion - 0.005'], [metric('accuracy', 0.955)], exact).result).toBe('failed');
    expect(gate(['accuracy > champion'], [metric('accuracy', 0.96)], exact).result).toBe('failed');
    expect(
      gate(['accuracy >= champion'], [metric('accuracy', 0.9533333333333334)], {
        ...champion,
        metrics: [metric('accuracy', 0.9533333333333334)],
      }).rules[0]?.threshold,
    ).toBe(0.9533333333333334);
  });

  it('marks a champion that was measured on other data', () => {
    const report = gate(['accuracy >= champion'], [metric('accuracy', 0.97)], { ...champion, sameData: false });
    expect(report).toMatchObject({ result: 'passed', champion: { model: 'digits', version: 3, sameData: false } });
    expect(report.rules[0]?.note).toContain('measured on other data');
  });

  it('passes when the champion never had the metric, and says so', () => {
    const report = gate(['f1 >= champion'], [metric('f1', 0.5)], champion);
    expect(report.result).toBe('passed');
    expect(report.rules[0]?.note).toContain('has no f1 to compare with');
  });

  it('takes the value of the last stage, or of the declared one, in the declared way', () => {
    const metrics = [metric('accuracy', 0.7, 'train', { min: 0.1, max: 0.9 }), metric('accuracy', 0.8, 'evaluate')];
    expect(gate(['accuracy >= 0'], metrics).rules[0]).toMatchObject({ value: 0.8, stage: 'evaluate' });
    const value = (declared: Partial<MetricDeclaration>) =>
      gate(['accuracy >= 0'], metrics, null, { accuracy: declaration(declared) }).rules[0]?.value;
    expect(value({ from: 'train' })).toBe(0.7);
    expect(value({ from: 'train', use: 'max' })).toBe(0.9);
    expect(value({ from: 'train', use: 'min' })).toBe(0.1);
    expect(value({ from: 'train', use: 'best', goal: 'max' })).toBe(0.9);
    expect(value({ from: 'train', use: 'best', goal: 'min' })).toBe(0.1);
  });

  it('says which stage reported a metric that counts from another', () => {
    const declare = { accuracy: declaration({ from: 'evaluate' }) };
    const [rule] = gate(['accuracy >= 0'], [metric('accuracy', 1, 'train')], null, declare).rules;
    expect(rule).toMatchObject({ passed: false });
    expect(rule?.note).toBe('accuracy counts from the stage evaluate, which did not report it; train did.');
  });

  it('does not confuse metrics with what every object has', () => {
    expect(gate(['constructor >= 0'], []).result).toBe('failed');
    expect(gate(['toString >= 0'], [metric('toString', 1)]).result).toBe('passed');
  });

  it('is monotone: a better value never turns a pass into a failure', () => {
    const value = fc.double({ noNaN: true });
    fc.assert(
      fc.property(value, value, value, (a, b, threshold) => {
        const [worse, better] = a <= b ? [a, b] : [b, a];
        const rule = [`m >= ${Number.isFinite(threshold) ? threshold : 0}`];
        const passes = (number: number) => gate(rule, [metric('m', number)]).result === 'passed';
        expect(passes(worse) && !passes(better)).toBe(false);
      }),
    );
  });

  it('knows whether it depends on the champion', () => {
    expect(gateNamesChampion(['a >= 1', 'b >= champion'])).toBe(true);
    expect(gateNamesChampion(['champion_score >= 1'])).toBe(false);
  });
});
