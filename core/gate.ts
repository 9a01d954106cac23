// Whether a finished run's metrics hold its project's rules. A failed gate is an outcome, never an error.
import { isGateRule, parseGateRule, type Comparison, type GateRule, type Threshold } from './gate-rule.ts';
import { metricValue, pickMetric, type StageMetric } from './metrics.ts';
import { didYouMean } from './nearest.ts';
import type { MetricDeclaration } from './project.ts';
import type { GateResult } from './run.ts';

/** The version behind `production`, as the gate sees it. */
export interface Champion {
  model: string;
  version: number;
  metrics: readonly StageMetric[];
  /** Whether it was measured on the very data of the run at the gate. */
  sameData: boolean;
}

export interface GateInput {
  rules: readonly string[];
  /** In the order of the stages. */
  metrics: readonly StageMetric[];
  declare: Readonly<Record<string, MetricDeclaration>>;
  champion: Champion | null;
}

/** Numbers are texts where JSON has no number for them (NaN, Infinity). */
export type ReportedNumber = number | 'NaN' | 'Infinity' | '-Infinity';

export interface GateRuleReport {
  rule: string;
  passed: boolean;
  /** What the run reported; null when nobody reported it. */
  value: ReportedNumber | null;
  /** What it was compared with; null when there was nothing to compare with. */
  threshold: ReportedNumber | null;
  /** The stage whose value counted. */
  stage: string | null;
  /** One plain sentence. */
  note: string;
}

/** Stored with the run and, as evidence, with a promotion: plain JSON. */
export interface GateReport {
  result: GateResult;
  rules: GateRuleReport[];
  /** The champion that was compared with; null when no rule named it or there was none. */
  champion: { model: string; version: number; sameData: boolean } | null;
}

/** NaN never passes; a champion rule passes while there is no champion, and says so. */
export function evaluateGate(input: GateInput): GateReport {
  const reports = input.rules.map((text) => evaluateRule(text, input));
  const compared = input.champion !== null && input.rules.some(namesChampion);
  return {
    result: reports.length === 0 ? 'none' : reports.every((report) => report.passed) ? 'passed' : 'failed',
    rules: reports,
    champion:
      compared && input.champion
        ? { model: input.champion.model, version: input.champion.version, sameData: input.champion.sameData }
        : null,
  };
}

/** Whether the gate has to be evaluated again when the champion changes. */
export function gateNamesChampion(rules: readonly string[]): boolean {
  return rules.some(namesChampion);
}

/** One sentence for people, for example `failed: accuracy >= 0.95 (0.91)`. */
export function gateSentence(report: GateReport): string {
  if (report.result === 'none') return 'no gate';
  const failed = report.rules.filter((rule) => !rule.passed);
  if (failed.length === 0) return `passed ${report.rules.length} of ${report.rules.length} rules`;
  return `failed: ${failed.map((rule) => `${rule.rule} (${rule.value ?? 'not reported'})`).join(', ')}`;
}

function namesChampion(text: string): boolean {
  const rule = parseGateRule(text);
  return isGateRule(rule) && rule.threshold.kind === 'champion';
}

function evaluateRule(text: string, input: GateInput): GateRuleReport {
  const rule = parseGateRule(text);
  if (!isGateRule(rule)) {
    return report(text, false, `The rule cannot be read: found ${rule.found}, expected ${rule.expected}.`);
  }
  const measured = valueOf(rule.key, input.metrics, input.declare);
  if (measured === null) return report(text, false, notReported(rule.key, input));
  if (Number.isNaN(measured.value)) {
    return report(text, false, `${rule.key} is NaN, which passes no rule.`, measured);
  }
  return compare(rule, measured, input);
}

interface Measured {
  value: number;
  stage: string;
}

function compare(rule: GateRule, measured: Measured, input: GateInput): GateRuleReport {
  const threshold = resolveThreshold(rule.threshold, rule.key, input);
  if (typeof threshold === 'string') return report(rule.text, rule.threshold.kind === 'champion', threshold, measured);
  const passed = !Number.isNaN(threshold.value) && holds(measured.value, rule.comparison, threshold.value);
  const outcome = `${rule.key} is ${measured.value}, ${passed ? 'as asked' : 'not'} ${rule.comparison} ${threshold.value}`;
  return report(rule.text, passed, `${outcome}${threshold.remark}.`, measured, threshold.value);
}

/** A sentence instead of a number when there is nothing to compare with. */
function resolveThreshold(
  threshold: Threshold,
  key: string,
  input: GateInput,
): { value: number; remark: string } | string {
  if (threshold.kind === 'number') return { value: threshold.value, remark: '' };
  if (threshold.kind === 'champion') return championThreshold(threshold.offset, key, input);
  const other = valueOf(threshold.key, input.metrics, input.declare);
  return other === null ? notReported(threshold.key, input) : { value: other.value, remark: ` (${threshold.key})` };
}

function championThreshold(offset: number, key: string, input: GateInput): { value: number; remark: string } | string {
  if (input.champion === null) return 'There is no champion yet, so there is nothing to be worse than.';
  const { model, version, metrics, sameData } = input.champion;
  const name = `the champion ${model} v${version}`;
  const value = valueOf(key, metrics, input.declare)?.value ?? Number.NaN;
  if (Number.isNaN(value)) return `${capitalised(name)} has no ${key} to compare with, so the rule passes.`;
  const other = sameData ? '' : ', which was measured on other data';
  return {
    value: offset === 0 ? value : withoutRoundingNoise(value + offset),
    remark: ` (${name} has ${value}${other})`,
  };
}

function valueOf(
  key: string,
  metrics: readonly StageMetric[],
  declare: Readonly<Record<string, MetricDeclaration>>,
): Measured | null {
  const declaration = Object.hasOwn(declare, key) ? declare[key] : undefined;
  const metric = pickMetric(metrics, key, declaration);
  return metric && { value: metricValue(metric, declaration?.use, declaration?.goal), stage: metric.stage };
}

function notReported(key: string, input: GateInput): string {
  const from = Object.hasOwn(input.declare, key) ? input.declare[key]?.from : null;
  const elsewhere = from ? pickMetric(input.metrics, key) : null;
  if (elsewhere) return `${key} counts from the stage ${from}, which did not report it; ${elsewhere.stage} did.`;
  const known = [...new Set(input.metrics.map((metric) => metric.key))];
  const reported = known.length === 0 ? ' The run reported no metric at all.' : '';
  const suffixed = known.find((name) => name.endsWith(`.${key}`) || name.endsWith(`/${key}`));
  const hint = suffixed ? ` Did you mean "${suffixed}"?` : didYouMean(key, known);
  return `No stage reported ${key}.${hint}${reported}`;
}

export function holds(value: number, comparison: Comparison, threshold: number): boolean {
  switch (comparison) {
    case '>=':
      return value >= threshold;
    case '<=':
      return value <= threshold;
    case '>':
      return value > threshold;
    case '<':
      return value < threshold;
    case '==':
      return value === threshold;
    case '!=':
      return value !== threshold;
  }
}

// 0.96 - 0.005 is 0.9549999999999999 in binary; people who wrote the rule mean 0.955.
function withoutRoundingNoise(value: number): number {
  return Number(value.toPrecision(15));
}

function report(
  rule: string,
  passed: boolean,
  note: string,
  measured: Measured | null = null,
  threshold: number | null = null,
): GateRuleReport {
  return {
    rule,
    passed,
    value: measured && reported(measured.value),
    threshold: threshold === null ? null : reported(threshold),
    stage: measured?.stage ?? null,
    note,
  };
}

function reported(value: number): ReportedNumber {
  return Number.isFinite(value) ? value : (String(value) as ReportedNumber);
}

function capitalised(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
