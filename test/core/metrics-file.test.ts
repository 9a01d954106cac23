import picomatch from 'picomatch';
import { describe, expect, it } from 'vitest';
import { formatMetric, metricValue, parseMetric, summariseMetric } from '#core/metrics.ts';
import { metricsFilePaths, readMetricsFiles } from '#core/metrics-file.ts';

const glob = (pattern: string) => picomatch(pattern, { dot: true });

function read(path: string, text: string) {
  return readMetricsFiles([{ path, text }]);
}

function points(path: string, text: string): Record<string, [number, number][]> {
  return Object.fromEntries(
    read(path, text).series.map(({ key, points: list }) => [key, list.map(({ step, value }) => [step, value])]),
  );
}

describe('a metrics file', () => {
  it('may be flat or nested', () => {
    expect(
      points('metrics.json', '{"accuracy": 0.9, "test": {"loss": 0.1, "by": {"a": 1}}, "name": "x", "ok": true}'),
    ).toEqual({
      accuracy: [[0, 0.9]],
      'test.loss': [[0, 0.1]],
      'test.by.a': [[0, 1]],
    });
  });

  it("may hold Python's NaN and Infinity, bare or as texts, without touching other texts", () => {
    expect(points('metrics.json', '{"a": NaN, "b": -Infinity, "c": "Infinity", "d": "say NaN", "e NaN": 1}')).toEqual({
      a: [[0, Number.NaN]],
      b: [[0, Number.NEGATIVE_INFINITY]],
      c: [[0, Number.POSITIVE_INFINITY]],
      'e NaN': [[0, 1]],
    });
  });

  it('may be a map of lists, counted by the list that counts steps', () => {
    expect(points('history.json', '{"loss": [3, 2], "epoch": [1, 2], "matrix": [[1, 2], [3, 4]]}')).toEqual({
      loss: [
        [1, 3],
        [2, 2],
      ],
      epoch: [
        [0, 1],
        [1, 2],
      ],
    });
    expect(points('history.json', '{"loss": [3, 2]}')).toEqual({
      loss: [
        [0, 3],
        [1, 2],
      ],
    });
  });

  it('may be a list of records, or one record per line', () => {
    const records = '{"step": 10, "loss": 3, "epoch": 1}\n\n{"step": 20, "loss": 2, "val": {"loss": 4}}\n';
    const expected = {
      loss: [
        [10, 3],
        [20, 2],
      ],
      epoch: [[10, 1]],
      'val.loss': [[20, 4]],
    };
    expect(points('metrics.jsonl', records)).toEqual(expected);
    expect(points('history.json', `[${records.trim().split('\n\n').join(',')}]`)).toEqual(expected);
  });

  it('may name its key in a column', () => {
    expect(points('metrics.jsonl', '{"key": "loss", "value": 3, "step": 1, "timestamp": 17}\n')).toEqual({
      loss: [[1, 3]],
    });
  });

  it('may be CSV with blanks', () => {
    expect(points('metrics.csv', 'epoch,step,train_loss,val_loss\n0,9,0.5,\n0,19,,nan\n')).toEqual({
      epoch: [
        [9, 0],
        [19, 0],
      ],
      train_loss: [[9, 0.5]],
      val_loss: [[19, Number.NaN]],
    });
  });

  it('may break off in its last line, but a broken line between others is noted', () => {
    expect(read('metrics.jsonl', '{"a": 1}\n{"a":').notes).toEqual([]);
    expect(read('metrics.jsonl', '{"a": 1}\nx\n{"a": 2}').notes).toEqual([
      'metrics.jsonl line 2 is not JSON; it is left out.',
    ]);
  });

  it('that is something else is noted, never an error', () => {
    expect(read('metrics.json', 'hello').notes).toEqual(['metrics.json is not JSON; expected an object of numbers.']);
    expect(read('metrics.json', '3').notes).toHaveLength(1);
    expect(read('metrics.json', `${'{"a":'.repeat(200)}1${'}'.repeat(200)}`).series).toEqual([]);
    expect(points('metrics.json', '{"__proto__": {"x": 1}, "constructor": 2}')).toEqual({
      '__proto__.x': [[0, 1]],
      constructor: [[0, 2]],
    });
  });

  it('is bounded in the number of its keys', () => {
    const many = Object.fromEntries(Array.from({ length: 10_050 }, (_, index) => [`k${index}`, index]));
    const reading = read('metrics.json', JSON.stringify(many));
    expect(reading.series).toHaveLength(10_000);
    expect(reading.notes).toHaveLength(1);
  });
});

describe('several metrics files', () => {
  it('are joined; the first wins and a difference is noted', () => {
    const reading = readMetricsFiles([
      { path: 'metrics.json', text: '{"loss": 0.1, "same": 2}' },
      { path: 'history.json', text: '{"loss": [3, 2], "same": [1, 2], "other": [5]}' },
    ]);
    expect(reading.series.map(({ key, file }) => [key, file])).toEqual([
      ['loss', 'metrics.json'],
      ['same', 'metrics.json'],
      ['other', 'history.json'],
    ]);
    expect(reading.notes).toEqual(['loss ends differently in metrics.json and history.json; metrics.json counts.']);
  });

  it('are found by their usual names, or as declared', () => {
    const paths = ['history.json', 'out/metrics.json', 'metrics.json', 'a/b/c/metrics.json', 'x.json'];
    expect(metricsFilePaths([], paths, glob)).toEqual(['out/metrics.json', 'metrics.json', 'history.json']);
    expect(metricsFilePaths(['x.json', 'a/'], paths, glob)).toEqual(['x.json', 'a/b/c/metrics.json']);
    expect(metricsFilePaths(['**/metrics.json'], paths, glob)).toEqual([
      'out/metrics.json',
      'metrics.json',
      'a/b/c/metrics.json',
    ]);
  });
});

describe('the summary of a metric', () => {
  const series = (values: number[]) => ({ key: 'k', points: values.map((value, step) => ({ step, value })) });

  it('has the last by step, the extremes without NaN, and the count', () => {
    expect(summariseMetric(series([3, Number.NaN, 1, 2]))).toEqual({
      key: 'k',
      last: 2,
      min: 1,
      max: 3,
      count: 4,
      lastStep: 3,
    });
    const unordered = {
      key: 'k',
      points: [
        { step: 5, value: 1 },
        { step: 2, value: 9 },
      ],
    };
    expect(summariseMetric(unordered)).toMatchObject({ last: 1, lastStep: 5 });
    expect(summariseMetric(series([Number.NaN]))).toMatchObject({ last: Number.NaN, min: Number.NaN, max: Number.NaN });
  });

  it('stands for the number its use asks for', () => {
    const summary = summariseMetric(series([3, 1, 2]));
    expect([metricValue(summary), metricValue(summary, 'min'), metricValue(summary, 'max')]).toEqual([2, 1, 3]);
    expect([
      metricValue(summary, 'best', 'max'),
      metricValue(summary, 'best', 'min'),
      metricValue(summary, 'best'),
    ]).toEqual([3, 1, 2]);
  });

  it('is written as text that reads back exactly', () => {
    for (const value of [0.1, -0, 1e300, 5e-324, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      expect(parseMetric(formatMetric(value))).toBe(value);
    }
  });
});
