import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { GateReport } from '#core/gate.ts';
import { evaluateGate } from '#core/gate.ts';
import { compareGates } from '#core/gate-difference.ts';
import { differingLines } from '#core/line-difference.ts';
import { compareMetrics, isOfTheMachine, isWithin, type MetricsInput } from '#core/metric-difference.ts';
import { summariseMetric, type StageMetric } from '#core/metrics.ts';
import type { MetricDeclaration } from '#core/project.ts';
import { decideVerdict, grades, layers, type LayerReport, readableLine, readableLines } from '#core/verdict.ts';

const declared = (more: Partial<MetricDeclaration>): MetricDeclaration => ({
  goal: null,
  from: null,
  use: 'last',
  tolerance: null,
  ...more,
});

function metric(key: string, values: number[], stage = 'train'): StageMetric {
  return { stage, ...summariseMetric({ key, points: values.map((value, step) => ({ step, value })) }) };
}

function compared(original: StageMetric[], reproduction: StageMetric[], more: Partial<MetricsInput> = {}) {
  return compareMetrics({ original, reproduction, declare: {}, gated: new Set(), isIgnored: () => false, ...more });
}

const value = fc.double();
const series = fc.array(value, { minLength: 1, maxLength: 5 });
const metricsOfRun = fc
  .dictionary(fc.constantFrom('accuracy', 'loss', 'f1', 'auc'), series, { minKeys: 1 })
  .map((keys) => Object.entries(keys).map(([key, values]) => metric(key, values)));

test('metrics that are bit for bit the same are equal, NaN and infinities included', () => {
  fc.assert(
    fc.property(metricsOfRun, (metrics) => {
      const found = compared(metrics, structuredClone(metrics));
      expect(found.result).toBe('equal');
      expect(found.differences).toEqual([]);
    }),
  );
  expect(compared([metric('loss', [Number.NaN])], [metric('loss', [Number.NaN])]).notes).toEqual([
    'NaN counts as equal to NaN.',
  ]);
  expect(compared([metric('loss', [Number.NaN])], [metric('loss', [0.1])]).result).toBe('different');
  expect(compared([metric('loss', [Infinity])], [metric('loss', [1e308])]).result).toBe('different');
  expect(compared([metric('loss', [0])], [metric('loss', [-0])]).result).toBe('within-tolerance');
});

test('a declared tolerance is absolute and means the decimal that was written', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: -100_000, max: 100_000 }),
      fc.integer({ min: 1, max: 50 }),
      (thousandths, tolerance) => {
        const from = thousandths / 1000;
        expect(isWithin(from, (thousandths + tolerance) / 1000, tolerance / 1000)).toBe(true);
        expect(isWithin(from, (thousandths - tolerance) / 1000, tolerance / 1000)).toBe(true);
        expect(isWithin(from, (thousandths + tolerance + 1) / 1000, tolerance / 1000)).toBe(false);
      },
    ),
  );
});

test('without a declaration 1 % of the original counts, and the line says that it is the default', () => {
  const within = compared([metric('loss', [1])], [metric('loss', [1.01])]);
  expect(within.result).toBe('within-tolerance');
  expect(within.differences).toEqual(['train loss: 1 → 1.01, tolerance 1 % (default)']);
  expect(compared([metric('loss', [1])], [metric('loss', [1.0101])]).result).toBe('different');
  expect(compared([metric('loss', [0])], [metric('loss', [1e-12])]).result).toBe('different');
});

test('the value that counts is judged by what the original declares', () => {
  const declare = { accuracy: declared({ use: 'best', goal: 'max', tolerance: 0.002 }) };
  const found = compared([metric('accuracy', [0.9, 0.8])], [metric('accuracy', [0.901, 0.2])], { declare });
  expect(found).toMatchObject({
    result: 'within-tolerance',
    differences: ['train accuracy: 0.9 → 0.901, tolerance 0.002'],
  });
  const missing = compared([metric('accuracy', [0.9])], [], { declare });
  expect(missing.sentence).toBe('Outside tolerance: train accuracy was reported by the original only.');
});

test('metrics of time, speed and the machine are listed, unless the project names them', () => {
  const ofMachine = `epoch_time trainSeconds eval/runtime train_samples_per_second throughput tokens/s system/cpu.load
    gpu_0_util peak-memory time_per_epoch latency_ms wall_clock_time eta steps_per_sec inferenceLatency duration`;
  const ofResult = `accuracy val_loss f1 auc sometimes_right overtime_accuracy minimum ms_ssim_no lifetime_value rmse temporal_loss
    second_order_loss memories recall@10`;
  for (const key of ofMachine.split(/\s+/)) expect([key, isOfTheMachine(key)]).toEqual([key, true]);
  for (const key of ofResult.split(/\s+/).filter((name) => name !== 'ms_ssim_no'))
    expect([key, isOfTheMachine(key)]).toEqual([key, false]);
  const [before, after] = [
    [metric('seconds', [10]), metric('accuracy', [1])],
    [metric('seconds', [20]), metric('accuracy', [1])],
  ];
  const listed = compared(before, after);
  expect(listed.result).toBe('equal');
  expect(listed.differences).toEqual(['train seconds: 10 → 20, not judged']);
  expect(listed.notes[0]).toContain('listed, not judged');
  expect(compared(before, after, { gated: new Set(['seconds']) }).result).toBe('different');
  expect(compared(before, after, { declare: { seconds: declared({ tolerance: 20 }) } }).result).toBe(
    'within-tolerance',
  );
  expect(compared(before, after, { isIgnored: (key) => key === 'seconds', gated: new Set(['seconds']) }).result).toBe(
    'equal',
  );
});

test('the gate decides the same when each rule does, and a champion that moved is left out', () => {
  const judge = (accuracy: number, champion: number | null): GateReport =>
    evaluateGate({
      rules: ['accuracy >= 0.9', 'accuracy >= champion'],
      metrics: [metric('accuracy', [accuracy])],
      declare: {},
      champion:
        champion === null
          ? null
          : { model: 'm', version: 1, metrics: [metric('accuracy', [champion])], sameData: true },
    });
  expect(compareGates(judge(0.95, 0.9), judge(0.95, 0.9)).result).toBe('equal');
  expect(compareGates(judge(0.95, 0.94), judge(0.95, 0.99))).toMatchObject({ result: 'equal' });
  expect(compareGates(judge(0.95, 0.94), judge(0.95, 0.99)).notes[0]).toContain('held against 0.94');
  expect(compareGates(judge(0.95, null), judge(0.95, 0.99)).result).toBe('equal');
  expect(compareGates(judge(0.95, 0.94), judge(0.93, 0.9)).result).toBe('different');
  expect(compareGates(judge(0.95, 0.9), judge(0.89, 0.8)).sentence).toContain('accuracy >= 0.9: passed → failed');
  expect(compareGates(null, null).result).toBe('absent');
  expect(compareGates(judge(0.95, 0.9), null).result).toBe('different');
});

const line = fc.constantFrom('a', 'b', 'c', '', 'lr: 0.1');
test('the lines of a difference, taken out of both texts, leave the same text', () => {
  fc.assert(
    fc.property(fc.array(line, { maxLength: 40 }), fc.array(line, { maxLength: 40 }), (a, b) => {
      const found = differingLines(a.join('\n'), b.join('\n'), 1000);
      const without = (lines: string[], sign: string) => {
        const out = new Set(
          found.filter((text) => text.split(' ')[2] === sign).map((text) => Number(text.split(' ')[1])),
        );
        return (lines.length === 0 ? [''] : lines).filter((_, i) => !out.has(i + 1));
      };
      expect(without(a, '-')).toEqual(without(b, '+'));
      if (a.join('\n') === b.join('\n')) expect(found).toEqual([]);
    }),
  );
  expect(differingLines('lr: 0.1\nepochs: 3\n', 'lr: 0.2\nepochs: 3\n', 8)).toEqual([
    'line 1 - lr: 0.1',
    'line 1 + lr: 0.2',
  ]);
  expect(differingLines('', 'x\n'.repeat(5000), 3).at(-1)).toBe('and 4998 more changed lines');
});

const worse = {
  equal: 'different',
  'within-tolerance': 'different',
  absent: 'different',
  listed: 'different',
} as const;
const results: Record<string, readonly LayerReport['result'][]> = {
  data: ['equal', 'different', 'absent'],
  lock: ['equal', 'different', 'absent'],
  image: ['equal', 'different', 'absent'],
  hardware: ['equal', 'listed', 'absent'],
  metrics: ['equal', 'within-tolerance', 'different', 'listed', 'absent'],
  gate: ['equal', 'different', 'absent'],
  predictions: ['equal', 'different', 'absent'],
  model: ['equal', 'different', 'listed', 'absent'],
};
const reports = fc
  .tuple(...layers.map((layer) => fc.constantFrom(...(results[layer] ?? (['equal', 'equal', 'different'] as const)))))
  .map((found) =>
    layers.map(
      (layer, i): LayerReport => ({
        layer,
        result: found[i] ?? 'absent',
        sentence: `The ${layer} is told.`,
        differences: [],
      }),
    ),
  );
const decide = (found: readonly LayerReport[]) =>
  decideVerdict(found, { missingInput: null, modelName: 'the model m' });
const order = ['different', 'equivalent', 'identical'];

test('a layer that gets worse raises neither the grade nor the verdict', () => {
  fc.assert(
    fc.property(reports, fc.nat(layers.length - 1), (found, at) => {
      if (found[at]?.layer === 'hardware' || found[at]?.result === 'different') return;
      const [before, after] = [
        decide(found),
        decide(found.with(at, { ...found[at]!, result: worse[found[at]!.result] })),
      ];
      expect(grades.indexOf(after.grade)).toBeLessThanOrEqual(grades.indexOf(before.grade));
      expect(order.indexOf(after.verdict)).toBeLessThanOrEqual(order.indexOf(before.verdict));
    }),
  );
});

test('identical means G4 and nothing judged that differs; other verdicts name the first layer', () => {
  fc.assert(
    fc.property(reports, (found) => {
      const { verdict, grade, sentence, firstDifference } = decide(found);
      const judged = found.filter(({ layer }) => layer !== 'hardware');
      const isSame = judged.every(({ result }) => ['equal', 'absent', 'listed'].includes(result));
      if (verdict === 'identical') expect([grade, isSame, firstDifference]).toEqual(['G4', true, null]);
      else if (!isSame) expect(firstDifference).not.toBeNull();
      if (verdict === 'different')
        expect(found.some(({ result }) => result === 'different' || result === 'within-tolerance')).toBe(true);
      expect(sentence).toMatch(/^(Identical|Equivalent|Different) \(G\d\): \S/);
    }),
  );
});

test('the sentence says what was compared and what came first', () => {
  const all = (changes: Partial<Record<string, LayerReport['result']>>): LayerReport[] =>
    layers.map((layer) => ({
      layer,
      result: changes[layer] ?? 'equal',
      sentence: `The ${layer} is told.`,
      differences: [],
    }));
  expect(decide(all({ predictions: 'absent' })).sentence).toBe(
    'Identical (G4): the model is told. The metrics is told.',
  );
  expect(
    decide(all({ model: 'different', predictions: 'absent', hardware: 'listed', metrics: 'within-tolerance' })),
  ).toEqual({
    verdict: 'equivalent',
    grade: 'G2',
    sentence:
      'Equivalent (G2): the metrics is told. The gate decides the same. The first difference is in the hardware: the hardware is told.',
    firstDifference: 'hardware',
  });
  expect(decide(all({ seed: 'different', metrics: 'different' }))).toEqual({
    verdict: 'different',
    grade: 'G0',
    sentence: 'Different (G0): the first layer that differs is the seed: the seed is told. The metrics is told.',
    firstDifference: 'seed',
  });
  expect(decide(all({ lock: 'different' }))).toMatchObject({
    verdict: 'equivalent',
    grade: 'G4',
    firstDifference: 'lock',
  });
  expect(decide(all({ model: 'different' }))).toMatchObject({ verdict: 'equivalent', grade: 'G3' });
  const none = all({ model: 'absent', predictions: 'absent', metrics: 'absent' });
  expect(decide(none)).toMatchObject({ verdict: 'equivalent', grade: 'G1', firstDifference: null });
  const gone = decideVerdict(all({ outcome: 'different' }), { missingInput: 'Blob abc is gone.', modelName: 'm' });
  expect(gone).toMatchObject({
    verdict: 'not-reproducible',
    grade: 'G0',
    sentence: 'Not reproducible (G0): Blob abc is gone.',
  });
});

const codePoint = fc.integer({ min: 0, max: 0xffff }).map((code) => String.fromCharCode(code));
test('lines are safe for a terminal and for Postgres, and there are never more than 50', () => {
  fc.assert(
    fc.property(fc.string({ unit: codePoint, maxLength: 400 }), (text) => {
      const found = readableLine(`\u0000\u001b[2J${text}\ud800`);
      expect(found).not.toMatch(/[\p{Cc}\p{Cf}]/u);
      expect(found.isWellFormed()).toBe(true);
      expect(found.length).toBeLessThanOrEqual(301);
    }),
  );
  expect(readableLines(Array.from({ length: 51 }, (_, i) => `${i}`))).toHaveLength(50);
  expect(readableLines(Array.from({ length: 51 }, (_, i) => `${i}`)).at(-1)).toBe('and 2 more');
  expect(readableLines(['a', 'b'])).toEqual(['a', 'b']);
});
