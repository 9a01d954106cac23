// The shortest true sentence about why two runs differ and what came of it.
import type { Json } from './canonical.ts';
import { type ArtifactChange, type Causes, type Change, type DataChange, hasCause, type MetricChange } from './diff.ts';
import type { GateResult, RunStatus } from './run.ts';

export interface DiffSide {
  label: string;
  /** What it is known as, such as `the champion digits version 3`; null when nothing is to be added. */
  title: string | null;
  status: RunStatus;
  gateResult: GateResult | null;
}

export interface DiffFacts {
  before: DiffSide;
  after: DiffSide;
  isSame: boolean;
  causes: Causes;
  /** What is known to differ although nobody can say how, such as `the inputs of train`. */
  unexplained: readonly string[];
  /** Sentences about what could not be compared. */
  notes: readonly string[];
  metrics: readonly MetricChange[];
  artifacts: readonly ArtifactChange[];
  /** All that differ, also those not among `metrics` and `artifacts`, timing left out. */
  metricsDiffering: number;
  artifactsDiffering: number;
  /** Metrics that the project declares or its gate names. */
  named: readonly string[];
}

const causesNamed = 3;
const namesInOneCause = 2;
const valueLengthMax = 40;

export function diffSentence(facts: DiffFacts): string {
  const { before, after, isSame, causes, unexplained, notes } = facts;
  if (isSame)
    return before.title === null
      ? `${after.label} is compared with itself.`
      : `${after.label} is itself ${before.title}.`;
  const other = before.title === null ? before.label : `${before.title} (${before.label})`;
  const results = resultClause(facts);
  const same = before.status === 'succeeded' ? 'the results are the same' : `both ${statusOfBoth(before.status)}`;
  if (hasCause(causes) || unexplained.length > 0) {
    const found = [...causeClauses(causes), ...unexplained];
    return `${after.label} differs from ${other} in ${causeList(found)}; ${results ?? same}.`;
  }
  const pair = `${after.label} and ${other}`;
  if (notes.length > 0) return `${pair} show no difference in what can be compared; ${results ?? same}.`;
  if (results === null) {
    return `${pair} are made from exactly the same inputs and ${before.status === 'succeeded' ? 'have the same results' : same}.`;
  }
  const isOutcome = before.status !== after.status;
  return `${pair} are made from the same inputs, ${isOutcome ? 'but' : 'but the results differ:'} ${results}.`;
}

function causeList(clauses: readonly string[]): string {
  const shown = clauses.slice(0, causesNamed);
  const more = clauses.length - shown.length;
  return listed(more > 0 ? [...shown, `${more} more ${more === 1 ? 'cause' : 'causes'}`] : shown, ' and in ', ', in ');
}

/** In the order in which one would suspect them. */
function causeClauses(causes: Causes): string[] {
  const { code, parameters, data, packages, environment, seed, stages, hardware, gate } = causes;
  const counted = code.filter((file) => file.counts);
  const pathsOf = (files: Causes['code']) => files.map(({ path }) => path);
  const enough = [parameters, data, packages, environment, stages, hardware, gate].some((list) => list.length > 0);
  // Files that no result depends on are named only where nothing else is.
  const files = counted.length > 0 || enough || seed !== null ? counted : code;
  return [
    clause(parameters.map(changeText), 'parameters'),
    clause(pathsOf(files), 'files of the code'),
    clause(
      data.map((one) => `the data ${one.name} (${dataText(one)})`),
      'data sources',
    ),
    clause(packages.map(changeText), 'packages'),
    clause(environment.map(environmentText), 'parts of the environment'),
    clause(seed === null ? [] : [changeText(seed)], 'seeds'),
    clause(
      stages.map((one) =>
        one.name === 'stage' ? `the stage ${one.stage} (${one.what})` : `${one.name} of ${one.stage}`,
      ),
      'settings of stages',
    ),
    clause(
      hardware.map((one) => `hardware (${one.name} ${arrow(one)})`),
      'facts of the hardware',
    ),
    clause(
      gate.map((one) => (one.name.startsWith('model ') ? changeText(one) : `the gate (${gateText(one)})`)),
      'rules of the gate',
    ),
  ].filter((text) => text !== '');
}

function clause(names: readonly string[], noun: string): string {
  return names.length <= namesInOneCause ? listed(names) : `${names.length} ${noun}`;
}

const environmentNames: Record<string, string> = { python: 'Python', platform: 'the platform', base: 'the base image' };

function environmentText(change: Change): string {
  return changeText({ ...change, name: environmentNames[change.name] ?? change.name });
}

function gateText({ name, what, before, after }: Change): string {
  if (name === 'promote' || name.startsWith('metrics.')) return `${name} ${what}`;
  return what === 'changed' ? `${short(before)} → ${short(after)}` : `${short(before ?? after)} ${what}`;
}

/** `lr (0.1 → 0.05)`, `lr (added: 0.05)`. */
function changeText(change: Change): string {
  return `${change.name} (${arrow(change)})`;
}

function arrow({ what, before, after }: Change): string {
  if (what === 'changed') return `${short(before)} → ${short(after)}`;
  return `${what}: ${short(what === 'added' ? after : before)}`;
}

function short(value: Json): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  const digest = /^(?:sha256:)?([0-9a-f]{12})[0-9a-f]{28,}$/.exec(text);
  if (digest?.[1] !== undefined) return digest[1];
  return text.length > valueLengthMax ? `${text.slice(0, valueLengthMax - 1)}…` : text;
}

/** What became of the rows, in a few words. */
export function dataText({ what, before, after, sameRows, columns }: DataChange): string {
  if (before === null || after === null) return what;
  if (before.digest === after.digest) return `now at ${after.to}`;
  if (sameRows === true) return `the same ${counted(after.rows ?? 0, 'row')} in another order`;
  const unit = after.rows === null ? 'file' : 'row';
  const [a, b] = unit === 'row' ? [before.rows, after.rows] : [before.files, after.files];
  const amount =
    a === b || a === null || b === null
      ? `${counted(b ?? 0, unit)}, other contents`
      : `${grouped(a)} → ${counted(b, unit)}`;
  return columns.length === 0
    ? amount
    : `${amount}, ${columns.length === 1 ? `column ${columns[0]?.name} ${columns[0]?.what}` : `${columns.length} columns`}`;
}

/** Null when the results are the same. */
function resultClause(facts: DiffFacts): string | null {
  const { before, after } = facts;
  if (before.status !== after.status)
    return `${before.label} ${statusText(before.status)}, ${after.label} ${statusText(after.status)}`;
  const clauses = [metricClause(facts), gateClause(before, after)].filter((text) => text !== '');
  if (clauses.length > 0) return listed(clauses);
  const { artifacts, artifactsDiffering } = facts;
  if (artifactsDiffering === 0) return null;
  const shown = artifacts
    .slice(0, namesInOneCause)
    .map(({ path, what }) => (what === 'changed' ? path : `${path} (${what})`));
  const more = artifactsDiffering - shown.length;
  const files = listed(more > 0 ? [...shown, `${counted(more, 'more file')}`] : shown);
  return hasCause(facts.causes) || facts.unexplained.length > 0
    ? `of the results only ${files} ${artifactsDiffering === 1 ? 'differs' : 'differ'}`
    : files;
}

function statusText(status: RunStatus): string {
  return status === 'succeeded' || status === 'failed'
    ? status
    : `is ${status}`.replace('is cancelled', 'was cancelled');
}

function statusOfBoth(status: RunStatus): string {
  return status === 'failed'
    ? status
    : statusText(status).replace(/^is |^was /, (verb) => (verb === 'is ' ? 'are ' : 'were '));
}

function metricClause({ metrics, metricsDiffering, named }: DiffFacts): string {
  const judged = metrics.filter(({ timing }) => !timing);
  const important = judged.filter(({ key }) => named.includes(key));
  if (important.length > 0) return listed(important.slice(0, namesInOneCause).map(metricText));
  if (metricsDiffering === 0) return '';
  return metricsDiffering <= namesInOneCause
    ? listed(judged.map(metricText))
    : `${grouped(metricsDiffering)} metrics differ`;
}

/** `accuracy 0.91 → 0.94 (better)`. */
function metricText({ key, what, before, after, direction, curveOnly }: MetricChange): string {
  if (curveOnly) return `the curve of ${key}`;
  if (what !== 'changed' || before === null || after === null) return `${key} (${what})`;
  const [a, b] = spellPair(before, after);
  return `${key} ${a} → ${b}${direction === null ? '' : ` (${direction})`}`;
}

/** Few digits, but enough of them to tell the two apart. */
export function spellPair(before: number, after: number): [string, string] {
  for (const digits of [4, 6, 9, 12]) {
    const [a, b] = [spell(before, digits), spell(after, digits)];
    if (a !== b) return [a, b];
  }
  return [String(before), String(after)];
}

function spell(value: number, digits: number): string {
  return Number.isFinite(value) ? String(Number(value.toPrecision(digits))) : String(value);
}

function gateClause(before: DiffSide, after: DiffSide): string {
  if (before.gateResult === after.gateResult) return '';
  return `gate ${before.gateResult ?? 'not decided'} → ${after.gateResult ?? 'not decided'}`;
}

function listed(items: readonly string[], last = ' and ', between = ', '): string {
  const head = items.slice(0, -1).join(between);
  return head === '' ? (items[0] ?? '') : `${head}${last}${items.at(-1)}`;
}

function counted(count: number, noun: string): string {
  return `${grouped(count)} ${count === 1 ? noun : `${noun}s`}`;
}

/** `12,345`. */
function grouped(count: number): string {
  return String(count).replaceAll(/\B(?=(\d{3})+$)/g, ',');
}
