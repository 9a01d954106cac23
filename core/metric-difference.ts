// How the metrics of two runs compare: which are judged, by which tolerance, and what differs.
import { formatMetric, metricValue, type StageMetric } from './metrics.ts';
import type { MetricDeclaration } from './project.ts';

/** Relative difference that a metric without a declared tolerance may show. */
const defaultTolerance = 0.01;

/**
 * Words of a metric's name that tell of a machine and a moment and not of a result. Such metrics are listed and not
 * judged, unless the project declares them or its gate names them.
 */
const machineWords = new Set(
  `time times timestamp duration seconds secs sec milliseconds ms minutes hours elapsed runtime walltime wallclock eta
  latency throughput fps memory mem rss vram gpu cpu utilization utilisation`.split(/\s+/),
);
const machineNames = [/^system[/._]/, /(?:^|[/._ -])per[_ -]?(?:second|sec|minute|hour)s?$/, /[a-z]\/s(?:ec)?$/];

export function isOfTheMachine(key: string): boolean {
  const name = key.replaceAll(/([a-z\d])([A-Z])/g, '$1_$2').toLowerCase();
  return (
    machineNames.some((pattern) => pattern.test(name)) || name.split(/[^a-z]+/).some((word) => machineWords.has(word))
  );
}

export interface MetricsInput {
  /** In the order of the stages. */
  original: readonly StageMetric[];
  reproduction: readonly StageMetric[];
  /** All of this is the original's, which was fixed before the reproduction ran. */
  declare: Readonly<Record<string, MetricDeclaration>>;
  /** Names that the gate's rules read. */
  gated: ReadonlySet<string>;
  isIgnored: (key: string) => boolean;
}

export interface MetricsDifference {
  result: 'equal' | 'within-tolerance' | 'different' | 'listed' | 'absent';
  sentence: string;
  /** What matters most comes first. */
  differences: string[];
  notes: string[];
}

type Kind = 'different' | 'within' | 'equal' | 'listed';

interface Compared {
  kind: Kind;
  name: string;
  /** Empty when nothing differs. */
  line: string;
  isNaN: boolean;
}

export function compareMetrics(input: MetricsInput): MetricsDifference {
  const found = pairs(input).map(([before, after]) => compareMetric(input, before, after));
  const lines = (kind: Kind) => found.filter((one) => one.kind === kind && one.line !== '').map(({ line }) => line);
  const judged = found.filter(({ kind }) => kind !== 'listed');
  const [outside, within, listed] = [lines('different'), lines('within'), lines('listed')];
  const differences = [...outside, ...within, ...listed];
  const notes = [
    ...(found.some(({ isNaN }) => isNaN) ? ['NaN counts as equal to NaN.'] : []),
    ...(listed.length > 0
      ? [
          `${count(listed.length, 'metric')} of time, speed, the machine or \`verify.ignore\` ${listed.length === 1 ? 'differs and is' : 'differ and are'} listed, not judged.`,
        ]
      : []),
  ];
  if (found.length === 0) return { result: 'absent', sentence: 'Neither run reported a metric.', differences, notes };
  if (judged.length === 0)
    return { result: 'listed', sentence: 'No metric that is judged was reported.', differences, notes };
  const all = judged.length === 1 ? 'The judged metric' : `All ${judged.length} judged metrics`;
  if (outside.length > 0) {
    const more = outside.length === 1 ? '' : ` and ${outside.length - 1} more of ${judged.length} judged metrics`;
    return { result: 'different', sentence: `Outside tolerance: ${outside[0]}${more}.`, differences, notes };
  }
  if (within.length > 0) {
    const verb = judged.length === 1 ? 'is' : 'are';
    const sentence = `${all} ${verb} within tolerance; ${within.length === 1 ? 'one differs' : `${within.length} differ`}: ${within[0]}${within.length > 1 ? ' and more' : ''}.`;
    return { result: 'within-tolerance', sentence, differences, notes };
  }
  return {
    result: 'equal',
    sentence: `${all} ${judged.length === 1 ? 'is' : 'are'} equal to the last bit.`,
    differences,
    notes,
  };
}

function pairs({ original, reproduction }: MetricsInput): Array<[StageMetric | undefined, StageMetric | undefined]> {
  const id = ({ stage, key }: StageMetric) => JSON.stringify([stage, key]);
  const after = new Map(reproduction.map((metric) => [id(metric), metric]));
  const before = new Set(original.map(id));
  return [
    ...original.map((metric): [StageMetric, StageMetric | undefined] => [metric, after.get(id(metric))]),
    ...reproduction
      .filter((metric) => !before.has(id(metric)))
      .map((metric): [undefined, StageMetric] => [undefined, metric]),
  ];
}

function compareMetric(input: MetricsInput, before: StageMetric | undefined, after: StageMetric | undefined): Compared {
  const { key = '', stage = '' } = before ?? after ?? {};
  const declaration = Object.hasOwn(input.declare, key) ? input.declare[key] : undefined;
  const isNamed = declaration !== undefined || input.gated.has(key);
  const isJudged = !input.isIgnored(key) && (isNamed || !isOfTheMachine(key));
  const name = `${stage} ${key}`;
  const answer = (kind: Kind, line: string, isNaN = false): Compared => ({
    kind: isJudged ? kind : 'listed',
    name,
    line,
    isNaN,
  });
  if (before === undefined) return answer('different', `${name} was reported by the reproduction only`);
  if (after === undefined) return answer('different', `${name} was reported by the original only`);
  if (isSameSummary(before, after)) return answer('equal', '', Number.isNaN(before.last));
  const { use = 'last', goal = null } = declaration ?? {};
  const [from, to] = [metricValue(before, use, goal), metricValue(after, use, goal)];
  const tolerance = toleranceOf(declaration, from);
  const isNaN = Number.isNaN(from) && Number.isNaN(to);
  if (isSame(from, to)) return answer('within', `${name}: ${otherSummaries(before, after)}`, isNaN);
  const values = `${name}: ${formatMetric(from)} → ${formatMetric(to)}`;
  const size = Math.abs(to - from);
  const line = `${values}${Number.isFinite(size) ? `, ${isJudged ? `tolerance ${tolerance.text}` : 'not judged'}` : ''}`;
  return answer(isWithin(from, to, tolerance.size) ? 'within' : 'different', line);
}

/** A difference of binary fractions carries their rounding, which is no part of what people declared. */
export function isWithin(from: number, to: number, tolerance: number): boolean {
  if (isSame(from, to) || from === to) return true;
  const rounding = 2 * Number.EPSILON * Math.max(Math.abs(from), Math.abs(to));
  return Number.isFinite(from) && Number.isFinite(to) && Math.abs(to - from) <= tolerance + rounding;
}

function toleranceOf(declaration: MetricDeclaration | undefined, from: number): { size: number; text: string } {
  const declared = declaration?.tolerance ?? null;
  if (declared !== null) return { size: declared, text: formatMetric(declared) };
  return { size: defaultTolerance * Math.abs(from), text: '1 % (default)' };
}

function isSame(a: number, b: number): boolean {
  return Object.is(a, b);
}

function isSameSummary(a: StageMetric, b: StageMetric): boolean {
  return (
    isSame(a.last, b.last) &&
    isSame(a.min, b.min) &&
    isSame(a.max, b.max) &&
    a.count === b.count &&
    a.lastStep === b.lastStep
  );
}

/** The value that counts is equal; something else of the series is not. */
function otherSummaries(a: StageMetric, b: StageMetric): string {
  const parts = (['last', 'min', 'max', 'count', 'lastStep'] as const).flatMap((part) => {
    const [from, to] = [a[part] ?? Number.NaN, b[part] ?? Number.NaN];
    return isSame(from, to)
      ? []
      : [`${part === 'lastStep' ? 'last step' : part} ${formatMetric(from)} → ${formatMetric(to)}`];
  });
  return `the value that counts is equal, ${parts.join(', ')}`;
}

function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? '' : 's'}`;
}
