import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Causes,
  type Change,
  compareArtifacts,
  compareInputs,
  compareMetrics,
  type DataFacts,
  hasCause,
  type MetricPair,
  namedMetrics,
  type RunInputs,
  type What,
} from '#core/diff.ts';
import { type DiffFacts, diffSentence, spellPair } from '#core/diff-sentence.ts';
import type { Params, ProjectConfig } from '#core/project.ts';
import { projectConfig, stage } from '../api/project-config.ts';

function config(changes: Partial<ProjectConfig> = {}): ProjectConfig {
  const declare = { accuracy: { goal: 'max' as const, from: null, use: 'last' as const, tolerance: null } };
  return projectConfig({ stages: [stage()], metrics: { files: [], declare }, gate: ['loss <= 1'], ...changes });
}

function datum(changes: Partial<DataFacts> = {}): DataFacts {
  return {
    name: 'sales',
    to: 'data/sales.csv',
    source: 'sales.sql',
    digest: 'd1',
    asOf: '2026-01-01T00:00:00Z',
    rows: 1000,
    files: null,
    sizeBytes: 5000,
    columns: [{ name: 'id', type: 'BIGINT' }],
    unorderedDigest: 'u1',
    ...changes,
  };
}

function inputs(changes: Partial<RunInputs> = {}): RunInputs {
  return {
    label: 'digits/41',
    config: config(),
    params: { lr: 0.1, model: { depth: 4 } },
    seed: 0,
    data: [datum()],
    environment: { python: '3.11.7', platform: 'linux-x86_64', base: null },
    isLockLost: false,
    atLaunch: { train: { secrets: {}, threads: 2 } },
    hardware: { train: { host: 'a', cpuModel: 'Xeon', cpus: 8, gpus: [] } },
    stepKeys: { train: 'k1' },
    ...changes,
  };
}

const text = fc.constantFrom('a', 'b', 'c');
const anyParams = fc.dictionary(
  text,
  fc.oneof(fc.double({ noNaN: true, noDefaultInfinity: true }), text, fc.dictionary(text, fc.nat(2))),
) as fc.Arbitrary<Params>;
const anyDatum = fc.record({
  name: text,
  to: text,
  digest: text,
  rows: fc.nat(3),
  unorderedDigest: fc.option(text),
  columns: fc.option(fc.uniqueArray(fc.record({ name: text, type: text }), { selector: ({ name }) => name })),
});
const anyConfig = fc
  .record({
    stages: fc.uniqueArray(fc.record({ name: text, command: text, env: fc.dictionary(text, text), cpus: fc.nat(2) }), {
      selector: ({ name }) => name,
    }),
    gate: fc.uniqueArray(fc.constantFrom('loss <= 1', 'loss <= 2', 'accuracy >= 0.5', 'accuracy >= champion')),
  })
  .map(({ stages, gate }) =>
    config({
      gate,
      stages: stages.map(({ cpus, ...rest }) =>
        stage({ ...rest, resources: { accelerators: null, cpus, memoryGib: null, nodes: 1 } }),
      ),
    }),
  );
const anyInputs: fc.Arbitrary<RunInputs> = fc
  .record({
    config: fc.option(anyConfig, { freq: 10 }),
    params: fc.option(anyParams),
    seed: fc.option(fc.nat(2)),
    data: fc.option(fc.uniqueArray(anyDatum, { selector: ({ name }) => name })),
    environment: fc.option(fc.record({ python: text, platform: text, base: fc.option(text) })),
    hardware: fc.dictionary(text, fc.record({ host: text, cpuModel: text })),
  })
  .map(({ data, ...rest }) => inputs({ ...rest, data: data && data.map((one) => datum(one)) }));

const swapped: Record<What, What> = { added: 'removed', removed: 'added', changed: 'changed' };
function mirror<C extends { what: What; before: unknown; after: unknown }>(change: C): C {
  return { ...change, what: swapped[change.what], before: change.after, after: change.before };
}

/** Order is that of the side read first, so it is not compared. */
function sorted<T>(items: readonly T[]): T[] {
  return items.toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
}

function mirrored(causes: Omit<Causes, 'code' | 'packages'>) {
  const lists = <C extends Change>(changes: readonly C[]) => sorted(changes.map((change) => mirror(change)));
  return {
    parameters: lists(causes.parameters),
    data: sorted(causes.data.map((one) => ({ ...mirror(one), columns: lists(one.columns) }))),
    environment: lists(causes.environment),
    seed: causes.seed && mirror(causes.seed),
    stages: lists(causes.stages),
    hardware: sorted(causes.hardware.map((one) => ({ ...mirror(one), stages: one.stages.toSorted() }))),
    gate: lists(causes.gate),
  };
}

const twice = (causes: Omit<Causes, 'code' | 'packages'>) =>
  mirrored(mirrored(causes) as Omit<Causes, 'code' | 'packages'>);

describe('comparing what two runs are made from', () => {
  it('finds nothing between equal runs', () => {
    fc.assert(
      fc.property(anyInputs, (run) => {
        expect(hasCause({ code: [], packages: [], ...compareInputs(run, structuredClone(run)) })).toBe(false);
      }),
    );
  });

  it('finds the mirrored differences the other way round', () => {
    fc.assert(
      fc.property(anyInputs, anyInputs, (a, b) => {
        expect(mirrored(compareInputs(a, b))).toEqual(twice(compareInputs(b, a)));
      }),
    );
  });

  it('finds each cause, and only that', () => {
    const cases: [keyof Causes, Partial<RunInputs>][] = [
      ['parameters', { params: { lr: 0.05, model: { depth: 4 } } }],
      ['data', { data: [datum({ digest: 'd2' })] }],
      ['environment', { environment: { python: '3.12.1', platform: 'linux-x86_64', base: null } }],
      ['seed', { seed: 1 }],
      ['stages', { config: config({ stages: [stage({ command: 'python train.py --fast' })] }) }],
      ['stages', { atLaunch: { train: { secrets: {}, threads: 4 } } }],
      ['hardware', { hardware: { train: { host: 'b', cpuModel: 'Epyc', cpus: 8, gpus: [] } } }],
      ['gate', { config: config({ gate: ['loss <= 0.9'] }) }],
    ];
    for (const [cause, changes] of cases) {
      const found = Object.entries(compareInputs(inputs(), inputs(changes))).filter(
        ([, value]) => value !== null && (value as unknown[]).length !== 0,
      );
      expect(found.map(([name]) => name)).toEqual([cause]);
    }
  });

  it('takes a parameter that is null for one that is there', () => {
    const { parameters } = compareInputs(inputs({ params: { lr: null } }), inputs({ params: {} }));
    expect(parameters).toEqual([{ name: 'lr', what: 'removed', before: null, after: null }]);
  });

  it('knows the same rows in another order', () => {
    const [change] = compareInputs(inputs(), inputs({ data: [datum({ digest: 'd2' })] })).data;
    expect(change?.sameRows).toBe(true);
  });

  it('says nothing of a machine that only has another name', () => {
    const hardware = { train: { host: 'b', cpuModel: 'Xeon', cpus: 8, gpus: [] } };
    expect(compareInputs(inputs(), inputs({ hardware })).hardware).toEqual([]);
  });
});

function pair(key: string, before: number | null, after: number | null): MetricPair {
  const summary = (value: number) => ({ key, last: value, min: value, max: value, count: 1, lastStep: 0 });
  return {
    stage: 'train',
    key,
    before: before === null ? null : summary(before),
    after: after === null ? null : summary(after),
  };
}

describe('comparing metrics', () => {
  it('mirrors values, deltas and directions', () => {
    const number = fc.option(fc.oneof(fc.double(), fc.integer({ min: -2, max: 2 })));
    fc.assert(
      fc.property(fc.constantFrom('accuracy', 'loss', 'other'), number, number, (key, a, b) => {
        fc.pre(a !== null || b !== null);
        const [there] = compareMetrics([pair(key, a, b)], config(), config());
        const [back] = compareMetrics([pair(key, b, a)], config(), config());
        const words = { better: 'worse', worse: 'better' } as const;
        expect(back).toMatchObject({
          what: swapped[there?.what ?? 'changed'],
          before: there?.after,
          after: there?.before,
        });
        expect(back?.delta ?? 0).toBe(there?.delta === null ? 0 : -(there?.delta ?? 0) + 0);
        expect(back?.direction).toBe(there?.direction == null ? null : words[there.direction]);
      }),
    );
  });

  it('takes the goal from the declaration, else from a rule of the gate', () => {
    const changes = compareMetrics(
      [pair('other', 1, 2), pair('loss', 1, 0.5), pair('accuracy', 0.91, 0.94)],
      config(),
      config(),
    );
    expect(changes.map(({ key, direction }) => [key, direction])).toEqual([
      ['accuracy', 'better'],
      ['loss', 'better'],
      ['other', null],
    ]);
  });

  it('tells another curve with the same value from another value', () => {
    const longer = pair('accuracy', 0.9, 0.9);
    const [change] = compareMetrics(
      [{ ...longer, after: longer.after && { ...longer.after, count: 5 } }],
      config(),
      config(),
    );
    expect(change).toMatchObject({ curveOnly: true, delta: 0, direction: null });
  });

  it('tells measures of the moment from results, unless the project names them', () => {
    const named = config({ gate: ['latency_ms <= 5'] });
    const keys = ['train_samples_per_second', 'latency_ms', 'f1'];
    const timing = (which: ProjectConfig) =>
      compareMetrics(
        keys.map((key) => pair(key, 1, 2)),
        which,
        which,
      ).filter((change) => change.timing);
    expect(timing(config()).map(({ key }) => key)).toEqual(['train_samples_per_second', 'latency_ms']);
    expect(timing(named).map(({ key }) => key)).toEqual(['train_samples_per_second']);
  });
});

function facts(changes: Partial<DiffFacts> & { from?: Partial<RunInputs>; to?: Partial<RunInputs> } = {}): DiffFacts {
  const { from, to, ...rest } = changes;
  const side = (label: string) => ({ label, title: null, status: 'succeeded' as const, gateResult: 'passed' as const });
  const metrics = rest.metrics ?? [];
  const artifacts = rest.artifacts ?? [];
  return {
    before: side('digits/41'),
    after: side('digits/42'),
    isSame: false,
    causes: { code: [], packages: [], ...compareInputs(inputs(from), inputs(to)) },
    unexplained: [],
    notes: [],
    metrics,
    artifacts,
    metricsDiffering: metrics.filter(({ timing }) => !timing).length,
    artifactsDiffering: artifacts.length,
    named: namedMetrics(config()),
    ...rest,
  };
}

const file = (path: string, counts = true) => ({
  path,
  what: 'changed' as const,
  linesAdded: 1,
  linesRemoved: 1,
  counts,
});
const artifact = (path: string) =>
  compareArtifacts([
    { stage: 'train', path, before: { sha256: 'a', sizeBytes: 1 }, after: { sha256: 'b', sizeBytes: 1 } },
  ]);

describe('the first line', () => {
  const better = compareMetrics([pair('accuracy', 0.91, 0.94)], config(), config());

  it('names parameters and files, and what came of them', () => {
    const found = facts({ to: { params: { lr: 0.05, model: { depth: 4 } } }, metrics: better });
    found.causes.code = [file('lib/model.py'), file('README.md', false)];
    expect(diffSentence(found)).toBe(
      'digits/42 differs from digits/41 in lr (0.1 → 0.05) and in lib/model.py; accuracy 0.91 → 0.94 (better).',
    );
  });

  it('counts what would be too long', () => {
    const found = facts({
      to: {
        params: { lr: 0.05, model: { depth: 5 }, x: 1 },
        seed: 3,
        environment: { python: '3.12', platform: 'linux-x86_64', base: null },
      },
    });
    found.causes.packages = [{ name: 'numpy', what: 'removed', before: '1.26.4', after: null }];
    expect(diffSentence(found)).toBe(
      'digits/42 differs from digits/41 in 3 parameters, in numpy (removed: 1.26.4), in Python (3.11.7 → 3.12) and in 1 more cause; the results are the same.',
    );
  });

  it('says what became of the rows', () => {
    const rows = facts({ to: { data: [datum({ digest: 'd2', unorderedDigest: 'u2', rows: 1200 })] } });
    expect(diffSentence(rows)).toBe(
      'digits/42 differs from digits/41 in the data sales (1,000 → 1,200 rows); the results are the same.',
    );
    const order = facts({ to: { data: [datum({ digest: 'd2' })] } });
    expect(diffSentence(order)).toContain('(the same 1,000 rows in another order)');
  });

  it('of equal inputs says whether the results are equal', () => {
    expect(diffSentence(facts())).toBe(
      'digits/42 and digits/41 are made from exactly the same inputs and have the same results.',
    );
    expect(diffSentence(facts({ artifacts: artifact('model/weights.bin') }))).toBe(
      'digits/42 and digits/41 are made from the same inputs, but the results differ: model/weights.bin.',
    );
  });

  it('leaves times out of the results', () => {
    const metrics = compareMetrics([pair('fit_seconds', 1.2, 1.3)], config(), config());
    expect(diffSentence(facts({ metrics }))).toContain('have the same results');
  });

  it('names files that no result depends on only where nothing else is', () => {
    const found = facts();
    found.causes.code = [file('README.md', false)];
    expect(diffSentence(found)).toBe('digits/42 differs from digits/41 in README.md; the results are the same.');
  });

  it('never claims equal inputs where something could not be compared', () => {
    expect(diffSentence(facts({ notes: ['The lock is gone.'] }))).toContain(
      'show no difference in what can be compared',
    );
    expect(diffSentence(facts({ unexplained: ['the inputs of train'] }))).toContain(
      'differs from digits/41 in the inputs of train',
    );
  });

  it('says how the runs ended, and names the champion', () => {
    const found = facts({ to: { seed: 1 } });
    found.after.status = 'failed';
    found.before.title = 'the champion digits version 3';
    expect(diffSentence(found)).toBe(
      'digits/42 differs from the champion digits version 3 (digits/41) in seed (0 → 1); digits/41 succeeded, digits/42 failed.',
    );
    const failed = facts();
    failed.before.status = failed.after.status = 'failed';
    expect(diffSentence(failed)).toBe('digits/42 and digits/41 are made from exactly the same inputs and both failed.');
    expect(diffSentence({ ...found, isSame: true })).toBe('digits/42 is itself the champion digits version 3.');
  });

  it('is one line with one end, whatever the runs', () => {
    fc.assert(
      fc.property(anyInputs, anyInputs, (from, to) => {
        const sentence = diffSentence({ ...facts(), causes: { code: [], packages: [], ...compareInputs(from, to) } });
        expect(sentence).toMatch(/^digits\/42 [^\n]+[^.]\.$/);
        expect(sentence.length).toBeLessThan(500);
      }),
    );
  });

  it('spells two numbers with as many digits as tell them apart', () => {
    expect(spellPair(0.91, 0.94)).toEqual(['0.91', '0.94']);
    expect(spellPair(0.912345678, 0.912345699)).toEqual(['0.912345678', '0.912345699']);
    expect(spellPair(Number.NaN, 1)).toEqual(['NaN', '1']);
  });
});
