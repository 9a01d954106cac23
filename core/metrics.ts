// Metric values: their summary, their text, and which one counts.
import type { Goal, MetricDeclaration, MetricUse } from './project.ts';

/** `step` is what the file said (step, epoch, iteration) or the position in the series, from 0. */
export interface MetricPoint {
  step: number;
  value: number;
}

export interface MetricSeries {
  key: string;
  points: MetricPoint[];
}

/** Values may be NaN or infinite: those are things a script can report. */
export interface MetricSummary {
  key: string;
  last: number;
  min: number;
  max: number;
  count: number;
  lastStep: number | null;
}

/** A summary with the stage that reported it. */
export interface StageMetric extends MetricSummary {
  stage: string;
}

/** `last` is the value at the greatest step, the later one on a tie; NaN counts as min or max only when all are NaN. */
export function summariseMetric(series: MetricSeries): MetricSummary {
  let last: MetricPoint | null = null;
  let min = Number.NaN;
  let max = Number.NaN;
  for (const point of series.points) {
    if (last === null || point.step >= last.step) last = point;
    if (Number.isNaN(point.value)) continue;
    if (!(min <= point.value)) min = point.value;
    if (!(max >= point.value)) max = point.value;
  }
  return {
    key: series.key,
    last: last?.value ?? Number.NaN,
    min,
    max,
    count: series.points.length,
    lastStep: last?.step ?? null,
  };
}

/** Text that `parseMetric` reads back exactly; JSON has none for NaN and infinities. */
export function formatMetric(value: number): string {
  return Object.is(value, -0) ? '-0' : String(value);
}

export function parseMetric(text: string): number {
  return Number(text);
}

/**
 * The report of `key` that counts: from the declared stage, else from the last stage that reported it. `metrics` are
 * in the order of the stages. Null when nobody reported it.
 */
export function pickMetric(
  metrics: readonly StageMetric[],
  key: string,
  declaration?: MetricDeclaration,
): StageMetric | null {
  const from = declaration?.from ?? null;
  return metrics.findLast((metric) => metric.key === key && (from === null || metric.stage === from)) ?? null;
}

/** The number a summary stands for. `best` follows the goal; without a goal it is the last. */
export function metricValue(metric: MetricSummary, use: MetricUse = 'last', goal: Goal | null = null): number {
  switch (use) {
    case 'last':
      return metric.last;
    case 'min':
      return metric.min;
    case 'max':
      return metric.max;
    case 'best':
      return goal === null ? metric.last : goal === 'max' ? metric.max : metric.min;
  }
}
