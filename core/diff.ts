// Where two runs differ, split by cause, then what came of it. Equal things are left out. `before` and `after` are the
// order of reading: swapping them swaps every pair, every added with removed, and every better with worse.
import { canonicalJson, type Json } from './canonical.ts';
import { isGateRule, parseGateRule } from './gate-rule.ts';
import { isOfTheMachine } from './metric-difference.ts';
import { metricValue, type MetricSummary } from './metrics.ts';
import { flattenParams } from './params.ts';
import type { Goal, MetricUse, Params, ProjectConfig, Stage } from './project.ts';

export type What = 'added' | 'removed' | 'changed';

/** One value by name. `before` is null when it was added, `after` when it was removed. */
export interface Change {
  name: string;
  what: What;
  before: Json;
  after: Json;
}

export interface StageChange extends Change {
  stage: string;
}

/** Of the machines that made the results of `stages`. */
export interface HardwareChange extends Change {
  stages: string[];
}

export interface CodeFileChange {
  path: string;
  what: What;
  /** Lines; null for files that are not text. */
  linesAdded: number | null;
  linesRemoved: number | null;
  /** False for files that no stage's result depends on, or only through what is listed under another cause. */
  counts: boolean;
}

export interface DataFacts {
  name: string;
  to: string;
  /** The query's path, or the dataset and its version. */
  source: string;
  digest: string;
  asOf: string;
  rows: number | null;
  files: number | null;
  sizeBytes: number | null;
  columns: readonly { name: string; type: string }[] | null;
  /** Over the rows whatever their order; null for datasets. */
  unorderedDigest: string | null;
}

export interface DataChange {
  name: string;
  what: What;
  before: DataFacts | null;
  after: DataFacts | null;
  /** The same rows in another order; null where rows are not known. */
  sameRows: boolean | null;
  /** Names with their types. */
  columns: Change[];
}

/** What a run is made from, as far as it is known. Null: not known yet, and so not compared. */
export interface RunInputs {
  label: string;
  config: ProjectConfig | null;
  params: Params | null;
  seed: number | null;
  data: readonly DataFacts[] | null;
  environment: { python: string; platform: string; base: string | null } | null;
  /** The store has lost the list of packages. */
  isLockLost: boolean;
  /** Of what is not in the configuration: secrets' versions and thread counts. By stage. */
  atLaunch: Readonly<Record<string, { secrets: Readonly<Record<string, number>>; threads: number | null }>>;
  /** By stage, of the attempt that made the result. */
  hardware: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  stepKeys: Readonly<Record<string, string>>;
}

export interface Causes {
  code: CodeFileChange[];
  parameters: Change[];
  data: DataChange[];
  packages: Change[];
  /** Python, platform, base image. */
  environment: Change[];
  seed: Change | null;
  stages: StageChange[];
  hardware: HardwareChange[];
  /** Rules of the gate, and how its metrics are read. */
  gate: Change[];
}

export interface MetricPair {
  stage: string;
  key: string;
  before: MetricSummary | null;
  after: MetricSummary | null;
}

export interface MetricChange {
  stage: string;
  key: string;
  what: What;
  /** The numbers that count, as the project declares it: last, best, min or max. */
  before: number | null;
  after: number | null;
  /** Null where one side has no finite number. */
  delta: number | null;
  /** `delta` as a part of the earlier value's size; null also when that is 0. */
  relative: number | null;
  goal: Goal | null;
  direction: 'better' | 'worse' | null;
  /** The numbers that count are equal; what differs is the way there: another number of points, minimum or maximum. */
  curveOnly: boolean;
  /** Tells of the machine and the moment, not of the model. */
  timing: boolean;
}

export interface ArtifactPair {
  stage: string;
  path: string;
  before: { sha256: string; sizeBytes: number } | null;
  after: { sha256: string; sizeBytes: number } | null;
}

export interface ArtifactChange extends ArtifactPair {
  what: What;
}

export function whatOf(before: unknown, after: unknown): What {
  return before === null || before === undefined
    ? 'added'
    : after === null || after === undefined
      ? 'removed'
      : 'changed';
}

/** Everything but the code and the locks, which are texts to be compared where they are read. */
export function compareInputs(before: RunInputs, after: RunInputs): Omit<Causes, 'code' | 'packages'> {
  return {
    parameters: both(before.params, after.params, (a, b) => compareValues(flatten(a), flatten(b))),
    data: both(before.data, after.data, compareData),
    environment: both(before.environment, after.environment, compareValues),
    seed: both(before.seed, after.seed, (a, b) => compareValues({ seed: a }, { seed: b }))[0] ?? null,
    stages: compareStages(before, after),
    hardware: compareHardware(before.hardware, after.hardware),
    gate: both(before.config, after.config, (a, b) => compareValues(gateFacts(a), gateFacts(b))),
  };
}

function both<T, R>(before: T | null, after: T | null, compare: (before: T, after: T) => R[]): R[] {
  return before === null || after === null ? [] : compare(before, after);
}

type Values = Readonly<Record<string, Json | undefined>>;

/** By name, those of `before` in their order, then the added. A name whose value is null is there all the same. */
export function compareValues(before: Values, after: Values): Change[] {
  const names = new Set([...Object.keys(before), ...Object.keys(after)]);
  return [...names].flatMap((name): Change[] => {
    const [a, b] = [before[name], after[name]];
    if (a !== undefined && b !== undefined) {
      return canonicalJson(a) === canonicalJson(b) ? [] : [{ name, what: 'changed', before: a, after: b }];
    }
    if (a === undefined && b === undefined) return [];
    return [{ name, what: a === undefined ? 'added' : 'removed', before: a ?? null, after: b ?? null }];
  });
}

function flatten(params: Params): Values {
  return Object.fromEntries(flattenParams(params)) as Values;
}

function compareData(before: readonly DataFacts[], after: readonly DataFacts[]): DataChange[] {
  const names = new Set([...before, ...after].map(({ name }) => name));
  return [...names].flatMap((name): DataChange[] => {
    const a = before.find((one) => one.name === name) ?? null;
    const b = after.find((one) => one.name === name) ?? null;
    if (a?.digest === b?.digest && a?.to === b?.to) return [];
    const typed = (one: DataFacts | null) =>
      Object.fromEntries((one?.columns ?? []).map((column) => [column.name, column.type]));
    const columns = both(a?.columns ?? null, b?.columns ?? null, () => compareValues(typed(a), typed(b)));
    const rowsKnown = typeof a?.unorderedDigest === 'string' && typeof b?.unorderedDigest === 'string';
    const sameRows = rowsKnown ? a.unorderedDigest === b.unorderedDigest : null;
    return [{ name, what: whatOf(a, b), before: a, after: b, sameRows, columns }];
  });
}

/** Stages that only one side has are one change named `stage`. */
function compareStages(before: RunInputs, after: RunInputs): StageChange[] {
  if (before.config === null || after.config === null) return [];
  const names = new Set([...before.config.stages, ...after.config.stages].map(({ name }) => name));
  return [...names].flatMap((stage) => {
    const [a, b] = [stageFacts(before, stage), stageFacts(after, stage)];
    const changes =
      a === null || b === null ? compareValues({ stage: a?.command }, { stage: b?.command }) : compareValues(a, b);
    return changes.map((change) => ({ stage, ...change }));
  });
}

function stageFacts({ config, atLaunch }: RunInputs, name: string): Record<string, Json | undefined> | null {
  const stage = config?.stages.find((one) => one.name === name);
  if (config === null || stage === undefined) return null;
  const { resources, env, secrets, name: _name, ...rest } = stage;
  const launch = atLaunch[name];
  return {
    ...(rest as Omit<Stage, 'resources' | 'env' | 'secrets' | 'name'> & Record<string, Json>),
    ...prefixed('resources', { ...resources, accelerators: accelerators(stage) }),
    ...prefixed('env', { ...config.env, ...env }),
    ...prefixed('secrets', Object.fromEntries(secrets.map((secret) => [secret, versionOf(launch?.secrets[secret])]))),
    threads: launch?.threads ?? undefined,
    paramStyle: config.params.style,
  };
}

function versionOf(version: number | undefined): Json {
  return version === undefined ? 'named' : `version ${version}`;
}

function accelerators({ resources }: Stage): Json {
  return resources.accelerators === null ? null : `${resources.accelerators.type} x ${resources.accelerators.count}`;
}

function prefixed(prefix: string, values: Record<string, Json>): Record<string, Json> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [`${prefix}.${name}`, value]));
}

/** Says where the stage ran, not on what. */
const notHardware = new Set(['host', 'image']);

/** The same change of several stages is one. */
function compareHardware(before: RunInputs['hardware'], after: RunInputs['hardware']): HardwareChange[] {
  const found = new Map<string, HardwareChange>();
  for (const stage of Object.keys(before)) {
    const [a, b] = [before[stage], after[stage]];
    if (a === undefined || b === undefined) continue;
    for (const change of compareValues(flatten(a as Params), flatten(b as Params))) {
      if (notHardware.has(change.name.split('.')[0] ?? '')) continue;
      const key = canonicalJson([change.name, change.before, change.after]);
      const known = found.get(key);
      if (known === undefined) found.set(key, { stages: [stage], ...change });
      else known.stages.push(stage);
    }
  }
  return [...found.values()];
}

/** Rules are paired by metric and comparison, so that a moved threshold is one change. */
function gateFacts({ gate, promote, metrics, models }: ProjectConfig): Record<string, Json> {
  const rules: Record<string, Json> = {};
  for (const text of gate) {
    const rule = parseGateRule(text);
    const name = isGateRule(rule) ? `${rule.key} ${rule.comparison}` : text;
    rules[name in rules ? text : name] = text;
  }
  const declared = Object.entries(metrics.declare).map(([name, declaration]) => [
    `metrics.${name}`,
    { ...declaration },
  ]);
  const paths = models.map(({ name, path }) => [`model ${name}`, path]);
  return { ...rules, promote, ...Object.fromEntries([...declared, ...paths]) };
}

/** How a project reads its metrics; a rule with an inequality tells the goal where none is declared. */
function metricReading(config: ProjectConfig | null): (key: string) => { goal: Goal | null; use: MetricUse } {
  const declare = new Map(Object.entries(config?.metrics.declare ?? {}));
  const rules = (config?.gate ?? []).map(parseGateRule).filter(isGateRule);
  const ruled = (key: string): Goal | null => {
    const rule = rules.find((one) => one.key === key && /^[<>]/.test(one.comparison));
    return rule === undefined ? null : rule.comparison.startsWith('>') ? 'max' : 'min';
  };
  return (key) => ({ goal: declare.get(key)?.goal ?? ruled(key), use: declare.get(key)?.use ?? 'last' });
}

/** Of pairs that differ. First what the project declares or its gate names, in that order, then the order given. */
export function compareMetrics(
  pairs: readonly MetricPair[],
  before: ProjectConfig | null,
  after: ProjectConfig | null,
): MetricChange[] {
  const known = [...new Set([...namedMetrics(after), ...namedMetrics(before)])];
  const rank = new Map(known.map((key, index) => [key, index]));
  const place = (change: MetricChange) => (change.timing ? known.length + 1 : (rank.get(change.key) ?? known.length));
  const reading = metricReading(after ?? before);
  return pairs
    .map((pair) => metricChange(pair, reading(pair.key), isOfTheMachine(pair.key) && !rank.has(pair.key)))
    .toSorted((a, b) => place(a) - place(b));
}

/** What a project says it cares about: declared metrics, then those its gate names. */
export function namedMetrics(config: ProjectConfig | null): string[] {
  if (config === null) return [];
  const ruled = config.gate.map(parseGateRule).flatMap((rule) => (isGateRule(rule) ? [rule.key] : []));
  return [...new Set([...Object.keys(config.metrics.declare), ...ruled])];
}

function metricChange(
  { stage, key, before, after }: MetricPair,
  { goal, use }: { goal: Goal | null; use: MetricUse },
  timing: boolean,
): MetricChange {
  const a = before && metricValue(before, use, goal);
  const b = after && metricValue(after, use, goal);
  const difference = a === null || b === null ? null : b - a;
  const delta = difference !== null && Number.isFinite(difference) ? difference : null;
  return {
    stage,
    key,
    what: whatOf(before, after),
    before: a,
    after: b,
    delta,
    relative: delta === null || a === null || a === 0 ? null : delta / Math.abs(a),
    goal,
    direction: direction(a, b, goal),
    curveOnly: before !== null && after !== null && Object.is(a, b),
    timing,
  };
}

/** A number is better than NaN. */
function direction(before: number | null, after: number | null, goal: Goal | null): MetricChange['direction'] {
  if (goal === null || before === null || after === null || Object.is(before, after)) return null;
  if (Number.isNaN(before)) return 'better';
  if (Number.isNaN(after)) return 'worse';
  if (before === after) return null;
  return after > before === (goal === 'max') ? 'better' : 'worse';
}

export function compareArtifacts(pairs: readonly ArtifactPair[]): ArtifactChange[] {
  return pairs.map((pair) => ({ ...pair, what: whatOf(pair.before, pair.after) }));
}

/** What one side does not have yet, and so cannot be compared; one sentence each. */
export function notCompared(before: RunInputs, after: RunInputs): string[] {
  return [before, after].flatMap(({ label, config, environment, isLockLost, data }) => {
    if (config === null) return [`${label} never came to read its commit, so its inputs are not known.`];
    return [
      environment === null ? `${label} has no environment yet, so Python, image and packages are not compared.` : '',
      isLockLost ? `The lock of ${label} is not in the store, so packages are not compared.` : '',
      data === null ? `${label} has not loaded its data yet, so data are not compared.` : '',
    ].filter((sentence) => sentence !== '');
  });
}

/** Stages whose keys differ. */
export function differingKeys(before: RunInputs, after: RunInputs): string[] {
  return Object.keys(before.stepKeys).filter((stage) => {
    const other = after.stepKeys[stage];
    return other !== undefined && other !== before.stepKeys[stage];
  });
}

export function hasCause({
  code,
  parameters,
  data,
  packages,
  environment,
  seed,
  stages,
  hardware,
  gate,
}: Causes): boolean {
  const lists = [code, parameters, data, packages, environment, stages, hardware, gate];
  return seed !== null || lists.some((list) => list.length > 0);
}
