// The layers of a verdict that a run is made from, in the order of cause and effect.
import { canonicalJson, type Json } from '#core/canonical.ts';
import { DomainError } from '#core/errors.ts';
import { flattenParams } from '#core/params.ts';
import type { Params } from '#core/project.ts';
import type { StageIngredients } from '#core/step-key.ts';
import { type Layer, type LayerReport, readableLine, readableLines } from '#core/verdict.ts';
import { changedFiles } from '#db/datasets.ts';
import type { RunData } from '#db/run-data.ts';
import { packageChanges } from '#environment/lock-difference.ts';
import { compareRows } from '#lake/compare-rows.ts';
import { readBlob } from '#storage/keep.ts';
import type { VerdictDeps } from './deps.ts';
import { rowLines } from './row-lines.ts';
import { endingOf, ingredientsOf, type Side } from './side.ts';

/** A report with what the whole verdict notes about it. */
export interface Noted {
  report: LayerReport;
  notes: string[];
}

const filesShownMax = 20;

export function layerReport(
  layer: Layer,
  result: LayerReport['result'],
  sentence: string,
  differences: readonly string[] = [],
): LayerReport {
  return { layer, result, sentence: readableLine(sentence), differences: readableLines(differences) };
}

function noted(report: LayerReport, notes: string[] = []): Noted {
  return { report, notes };
}

export function compareOutcomes(a: Side, b: Side): Noted {
  const [before, after] = [endingOf(a), endingOf(b)];
  const same =
    before.status === after.status &&
    before.failure?.step === after.failure?.step &&
    before.failure?.exitCode === after.failure?.exitCode;
  const told = ({ status, failure }: ReturnType<typeof endingOf>) =>
    failure === null || status === 'succeeded' ? status : `${status} (${failure.sentence})`;
  if (same) return noted(layerReport('outcome', 'equal', `Both runs ${told(after)}.`));
  const sentence = `The original ${told(before)}, the reproduction ${told(after)}.`;
  return noted(layerReport('outcome', 'different', sentence, after.failure?.logTail ?? []));
}

export function compareCode(a: Side, b: Side): Noted {
  const lines = [
    ...stageChanges(a, b, ['codeDigest', 'command', 'outputs', 'network', 'deterministic']),
    ...(a.run.dirty === b.run.dirty ? [] : [`uncommitted changes: ${a.run.dirty} → ${b.run.dirty}`]),
  ];
  const commits = `${short(a.run.commit)} → ${short(b.run.commit)}`;
  const sameTree = a.run.tree !== null && a.run.tree === b.run.tree;
  if (sameTree && lines.length === 0) {
    const other = a.run.commit === b.run.commit ? '' : `, although the commits are others (${commits})`;
    return noted(layerReport('code', 'equal', `Both ran the same tree ${short(a.run.tree)}${other}.`));
  }
  const head = sameTree ? [] : [`commit ${commits}, tree ${short(a.run.tree)} → ${short(b.run.tree)}`];
  const sentence = sameTree
    ? `The tree is the same, what is run of it is not: ${lines[0]}.`
    : `The code differs: commit ${commits}${lines.length === 0 ? ', in no file that a stage uses' : ''}.`;
  return noted(layerReport('code', 'different', sentence, [...head, ...lines]));
}

export function compareParameters(a: Side, b: Side): Noted {
  const params = (side: Side) => new Map(flattenParams((side.run.params ?? {}) as Params));
  const changed = mapChanges(params(a), params(b));
  const lines = [...changed, ...stageChanges(a, b, ['params', 'env', 'secrets', 'paramStyle'], changed.length > 0)];
  if (lines.length === 0) return noted(layerReport('parameters', 'equal', 'The parameters are equal.'));
  const more = lines.length === 1 ? '' : ` and ${lines.length - 1} more`;
  return noted(layerReport('parameters', 'different', `The parameters differ: ${lines[0]}${more}.`, lines));
}

export function compareSeeds(a: Side, b: Side): Noted {
  if (a.run.seed === b.run.seed) return noted(layerReport('seed', 'equal', `Both ran with seed ${a.run.seed}.`));
  const line = `${a.run.seed} → ${b.run.seed}`;
  return noted(layerReport('seed', 'different', `The seed differs: ${line}.`, [line]));
}

export async function compareData(deps: VerdictDeps, a: Side, b: Side): Promise<Noted> {
  if (a.data.length === 0 && b.data.length === 0)
    return noted(layerReport('data', 'absent', 'Neither run loads data through Assay.'));
  const [before, after] = [
    new Map(a.data.map((row) => [row.name, row])),
    new Map(b.data.map((row) => [row.name, row])),
  ];
  const lines: string[] = [];
  for (const name of new Set([...before.keys(), ...after.keys()])) {
    const [from, to] = [before.get(name), after.get(name)];
    if (from?.digest === to?.digest) continue;
    if (from === undefined || to === undefined)
      lines.push(`${name}: only the ${from === undefined ? 'reproduction' : 'original'} has it`);
    else lines.push(...(await dataLines(deps, from, to)));
  }
  if (lines.length > 0) return noted(layerReport('data', 'different', `The data differ: ${lines[0]}.`, lines));
  const rows = a.data.map((row) => row.facts.rows).filter((n) => typeof n === 'number');
  const counts = rows.length === 0 ? '' : ` (${rows.reduce((sum, n) => sum + n, 0)} rows)`;
  return noted(layerReport('data', 'equal', `The data are equal by their digests${counts}.`));
}

async function dataLines(deps: VerdictDeps, from: RunData, to: RunData): Promise<string[]> {
  if (from.datasetName !== null && to.datasetName !== null) return await datasetLines(deps, from, to);
  const rows = `${String(from.facts.rows)} → ${String(to.facts.rows)} rows`;
  const digests = `sha256 ${short(from.digest)} → ${short(to.digest)}`;
  const sameEngine = from.facts.engine === to.facts.engine;
  if (
    sameEngine &&
    typeof from.facts.unorderedDigest === 'string' &&
    from.facts.unorderedDigest === to.facts.unorderedDigest
  )
    return [`${from.name}: the same rows in another order (${String(from.facts.rows)} rows, ${digests})`];
  const engine = sameEngine ? '' : `, engine ${String(from.facts.engine)} → ${String(to.facts.engine)}`;
  const head = `${from.name}: ${rows}, ${digests}${engine}`;
  if (from.snapshotId === null || to.snapshotId === null) return [head];
  const stored = (row: RunData) => ({ sha256: row.digest, format: 'parquet' as const });
  try {
    const difference = await compareRows({ store: deps.store, engine: deps.lake.engine }, stored(from), stored(to), {
      key: null,
      examplesMax: 5,
    });
    if (difference.sameInAnotherOrder) return [`${from.name}: the same rows in another order (${rows}, ${digests})`];
    return [head, ...rowLines(difference, null).map((line) => `  ${line}`)];
  } catch (error) {
    if (!(error instanceof DomainError)) throw error;
    return [head, `  the rows could not be compared: ${error.message}`];
  }
}

async function datasetLines({ db }: VerdictDeps, from: RunData, to: RunData): Promise<string[]> {
  const version = (row: RunData) => ({ name: row.datasetName ?? '', version: row.datasetVersion ?? 0 });
  const named = (row: RunData) => `${row.datasetName} v${row.datasetVersion}`;
  const { total, files } = await changedFiles(db, version(from), version(to), filesShownMax);
  const words = { added: 'only in the reproduction', removed: 'only in the original', changed: 'other content' };
  return [
    `${from.name}: ${named(from)} → ${named(to)}, ${total} file${total === 1 ? '' : 's'} differ${total === 1 ? 's' : ''}`,
    ...files.map(({ path, what }) => `  ${path}: ${words[what]}`),
    ...(total > files.length ? [`  and ${total - files.length} more files`] : []),
  ];
}

export async function compareLocks(deps: VerdictDeps, a: Side, b: Side): Promise<Noted> {
  const [from, to] = [a.environment?.lockSha256, b.environment?.lockSha256];
  if (from === undefined && to === undefined) return noted(layerReport('lock', 'absent', 'Neither run has a lock.'));
  if (from === to) return noted(layerReport('lock', 'equal', `Both ran with the lock ${short(from)}.`));
  if (from === undefined || to === undefined)
    return noted(
      layerReport('lock', 'different', `Only the ${from === undefined ? 'reproduction' : 'original'} has a lock.`),
    );
  const digests = `sha256 ${short(from)} → ${short(to)}`;
  try {
    const read = async (sha256: string) => (await readBlob(deps.store, sha256)).toString('utf8');
    const changes = packageChanges(await read(from), await read(to));
    const lines = changes.map(({ name, before, after }) => `${name} ${before ?? 'absent'} → ${after ?? 'absent'}`);
    const more = lines.length > 3 ? ` and ${lines.length - 3} more` : '';
    const told =
      lines.length === 0
        ? `the versions are the same, their files or options are not (${digests})`
        : `${lines.slice(0, 3).join(', ')}${more}`;
    return noted(layerReport('lock', 'different', `The lock differs: ${told}.`, [digests, ...lines]));
  } catch (error) {
    if (!(error instanceof DomainError)) throw error;
    return noted(layerReport('lock', 'different', `The lock differs (${digests}).`, [error.message]));
  }
}

/** The base counts, not the image made from it: an image of the same base and lock is equal wherever it was built. */
export function compareImages(a: Side, b: Side): Noted {
  const [from, to] = [a.environment, b.environment];
  if (from === undefined && to === undefined)
    return noted(layerReport('image', 'absent', 'Neither run has an environment.'));
  const lines = (['base', 'python', 'platform'] as const).flatMap((part) =>
    from?.[part] === to?.[part] ? [] : [`${part} ${from?.[part] ?? 'none'} → ${to?.[part] ?? 'none'}`],
  );
  if (lines.length > 0)
    return noted(
      layerReport('image', 'different', `The environment below the packages differs: ${lines.join(', ')}.`, lines),
    );
  const below =
    from?.base === null ? `Python ${from.python} on ${from.platform}` : `the base image ${short(from?.base)}`;
  const built = (side: Side) => side.steps.find(({ name }) => name === 'build-environment')?.facts?.image ?? null;
  const rebuilt = built(a) !== built(b);
  const sentence = `Both ran on ${below}${rebuilt ? '; the image was built again from the same base and lock' : ''}.`;
  return noted(layerReport('image', 'equal', sentence));
}

/** Of no influence on numbers, or compared in a layer of its own. */
const notCompared = ['host', 'os', 'kernel', 'libc', 'microcode', 'memoryBytes', 'image', 'cpuFlagsDigest'];

/** Which card it was has no influence; its kind and its driver have. */
function hardwareFacts(hardware: Record<string, unknown>): Map<string, unknown> {
  const { gpus = [], ...rest } = hardware as { gpus?: Array<{ name?: unknown; driver?: unknown }> };
  const facts = Object.entries(rest).filter(([key]) => !notCompared.includes(key));
  const cards = gpus.map(({ name, driver }) => `${String(name)} (driver ${String(driver)})`);
  return new Map<string, unknown>([...facts, ['gpus', cards.join(', ') || 'none']]);
}

/** Listed and never judged: results may be equal all the same, and then the verdict says so. */
export function compareHardware(a: Side, b: Side): Noted {
  const lines = stageChanges(a, b, ['cpus', 'threads', 'accelerators']);
  let known = false;
  for (const [stage, after] of b.attempts) {
    const before = a.attempts.get(stage);
    if (!before?.hardware || !after.hardware) continue;
    known = true;
    const changes = mapChanges(hardwareFacts(before.hardware), hardwareFacts(after.hardware));
    lines.push(...changes.map((line) => `${stage}: ${line}`));
  }
  const notes = expectations(a, b);
  if (lines.length === 0) {
    return known || a.attempts.size > 0
      ? noted(layerReport('hardware', 'equal', 'The stages ran on hardware of the same kind.'), notes)
      : noted(layerReport('hardware', 'absent', 'No hardware was recorded.'), notes);
  }
  notes.unshift('The hardware differs, so no more than G2 is expected: other processors round sums in another order.');
  const more = lines.length === 1 ? '' : ` and ${lines.length - 1} more`;
  return noted(layerReport('hardware', 'listed', `The hardware differs: ${lines[0]}${more}.`, lines), notes);
}

function expectations(a: Side, b: Side): string[] {
  const stages = (a.run.config?.stages ?? []).filter(({ name, resources, deterministic }) => {
    const onGpu =
      resources.accelerators !== null || [a, b].some((side) => (side.attempts.get(name)?.devices ?? []).length > 0);
    return onGpu && !deterministic;
  });
  return stages.map(
    ({ name }) =>
      `The stage ${name} ran on a GPU without \`deterministic: true\`, so no more than G2 is expected: its sums are added up in an order that changes from launch to launch.`,
  );
}

/** What differs between the ingredients that both runs recorded. */
function stageChanges(a: Side, b: Side, fields: ReadonlyArray<keyof StageIngredients>, told = false): string[] {
  const after = ingredientsOf(b);
  return [...ingredientsOf(a)].flatMap(([stage, before]) => {
    const other = after.get(stage);
    if (other === undefined) return [];
    return fields.flatMap((field) => {
      const [from, to] = [before[field], other[field]] as [Json | undefined, Json | undefined];
      if (same(from, to) || (told && field === 'params')) return [];
      if (field === 'codeDigest') return [`${stage}: other files`];
      const change = mapChanges(entriesOf(from), entriesOf(to));
      return change.map((line) => `${stage}: ${field === 'params' ? '' : `${field} `}${line}`);
    });
  });
}

function entriesOf(value: Json | undefined): Map<string, unknown> {
  if (Array.isArray(value) && value.every((item) => typeof item === 'object' && item !== null && 'name' in item))
    return new Map((value as Array<{ name: string }>).map(({ name, ...rest }) => [name, rest]));
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return new Map(Object.entries(value));
  return new Map([['', value ?? null]]);
}

function mapChanges(a: ReadonlyMap<string, unknown>, b: ReadonlyMap<string, unknown>): string[] {
  return [...new Set([...a.keys(), ...b.keys()])].flatMap((key) => {
    const [from, to] = [a.get(key), b.get(key)];
    return same(from, to) ? [] : [`${key} ${shownValue(from)} → ${shownValue(to)}`.trim()];
  });
}

function same(a: unknown, b: unknown): boolean {
  if (a === undefined || b === undefined) return a === b;
  return canonicalJson(a as Json) === canonicalJson(b as Json);
}

function shownValue(value: unknown): string {
  if (value === undefined) return '(none)';
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}

function short(digest: string | null | undefined): string {
  return digest?.replace(/^sha256:/, '').slice(0, 12) ?? 'none';
}
