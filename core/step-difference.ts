// Why two steps are not the same step: what their keys were made of, compared and put into words. The caller says which
// files differ, because a digest does not.
import { canonicalJson, type Json } from './canonical.ts';
import { flattenParams, isMap } from './params.ts';
import type { Params, ParamValue } from './project.ts';
import type { KeyedStep } from './step-key.ts';

/** A file of the code that enters a step's key. `lines` is null for what has none, such as a binary file. */
export type CodeChange =
  | { path: string; change: 'changed'; lines: number | null }
  | { path: string; change: 'added' | 'removed' }
  /** Its bytes are the same, and only its executable bit or its being a link is not. */
  | { path: string; change: 'mode' }
  /** In both trees, but it belongs to the step's code in one only: `code:` or `.assayignore` changed. */
  | { path: string; change: 'included' | 'excluded' };

export interface StepDifference {
  /** The ingredient, as it is named in the key. */
  part: string;
  /** What of it differs, such as a file, a parameter or a secret; null when it has no parts. */
  name: string | null;
  /** Null where there was or is nothing, and for what is shown by its name only. */
  before: Json;
  after: Json;
  /** A clause that fits behind "because": `lr 0.1 → 0.05`, `lib/model.py changed (2 lines)`. */
  text: string;
}

/** As they are stored with a step. */
export type Ingredients = Readonly<Record<string, unknown>>;

export interface DifferenceFacts {
  /** The files behind different code digests; null when they are not known. */
  code?: readonly CodeChange[] | null;
}

/** Empty for equal ingredients. What a person is likely to have changed comes first. */
export function stepDifferences(
  step: KeyedStep,
  before: Ingredients,
  after: Ingredients,
  { code = null }: DifferenceFacts = {},
): StepDifference[] {
  const known = Object.keys(compare[step]);
  const others = [...new Set([...Object.keys(before), ...Object.keys(after)])].filter((part) => !known.includes(part));
  return [...known, ...others.toSorted()].flatMap((part) => {
    const pair = { before: jsonOf(before[part]), after: jsonOf(after[part]) };
    if (same(pair.before, pair.after)) return [];
    const found = (compare[step][part] ?? plain(part))(pair, code);
    return found.map((difference) => ({ part, ...difference }));
  });
}

const clausesMax = 4;

/** `a`, `a and b`, `a, b and c`; of many the first few and how many there are besides. */
export function joinClauses(clauses: readonly string[], max = clausesMax): string {
  const rest = clauses.length - max;
  const shown = rest > 1 ? [...clauses.slice(0, max), `${rest} more`] : [...clauses];
  const last = shown.pop() ?? '';
  return shown.length === 0 ? last : `${shown.join(', ')} and ${last}`;
}

interface Pair {
  before: Json;
  after: Json;
}
type Difference = Omit<StepDifference, 'part'>;
type Compare = (pair: Pair, code: readonly CodeChange[] | null) => Difference[];

/** The order of a table is the order of its words. */
const compare: Record<KeyedStep, Readonly<Record<string, Compare>>> = {
  stage: {
    project: plain('the project'),
    stage: plain('the stage'),
    codeDigest: codeChanges,
    command: () => [nameless('its command changed')],
    params: paramChanges,
    paramStyle: plain('the way parameters are passed'),
    environmentKey: () => [nameless('its environment changed')],
    data: (pair) => named(pair, 'name', (name, verb) => `the data ${name} ${verb}`),
    upstream: upstreamChanges,
    initFrom: () => [nameless('the checkpoints it starts from changed')],
    seed: plain('seed'),
    env: envChanges,
    secrets: secretChanges,
    accelerators: (pair) => [{ name: null, ...pair, text: arrow('accelerators', pair, acceleratorText) }],
    cpus: plain('cpus'),
    threads: plain('threads'),
    runner: runnerChanges,
    network: plain('network'),
    outputs: outputChanges,
    deterministic: plain('deterministic'),
  },
  'build-environment': {
    lockSha256: () => [nameless('the lock changed')],
    python: plain('Python'),
    base: () => [nameless('the base image changed')],
    platform: plain('platform'),
  },
  'load-data': { sources: sourceChanges },
};

function codeChanges(_pair: Pair, code: readonly CodeChange[] | null): Difference[] {
  if (code === null || code.length === 0) return [nameless('its code changed')];
  return code.map((file) => ({ name: file.path, before: null, after: null, text: codeText(file) }));
}

function codeText(file: CodeChange): string {
  switch (file.change) {
    case 'changed':
      return file.lines === null
        ? `${file.path} changed`
        : `${file.path} changed (${file.lines} ${file.lines === 1 ? 'line' : 'lines'})`;
    case 'added':
      return `${file.path} was added`;
    case 'removed':
      return `${file.path} was removed`;
    case 'mode':
      return `the mode of ${file.path} changed`;
    case 'included':
      return `${file.path} belongs to its code now`;
    case 'excluded':
      return `${file.path} belongs to its code no more`;
    default:
      return file satisfies never;
  }
}

function paramChanges({ before, after }: Pair): Difference[] {
  const [old, now] = [leaves(before), leaves(after)];
  return [...new Set([...old.keys(), ...now.keys()])].flatMap((name) => {
    const pair = { before: old.get(name) ?? null, after: now.get(name) ?? null };
    const isIn = { old: old.has(name), now: now.has(name) };
    if (isIn.old && isIn.now && same(pair.before, pair.after)) return [];
    if (!isIn.old) return [{ name, ...pair, text: `${name} ${paramText(pair.after)} is new` }];
    return [{ name, ...pair, text: isIn.now ? arrow(name, pair, paramText) : `${name} is gone` }];
  });
}

function paramText(value: Json): string {
  return value === null ? 'null' : short(value);
}

function leaves(value: Json): Map<string, Json> {
  return isMap(value as ParamValue) ? new Map(flattenParams(value as Params) as [string, Json][]) : new Map();
}

function upstreamChanges({ before, after }: Pair): Difference[] {
  const key = (file: Json) => [textOf(file, 'stage'), textOf(file, 'path')];
  const [old, now] = [byText(listOf(before), key), byText(listOf(after), key)];
  const changed = [...new Set([...old.keys(), ...now.keys()])]
    .filter((id) => !same(old.get(id) ?? null, now.get(id) ?? null))
    .map((id) => (now.get(id) ?? old.get(id)) as Json);
  const byStage = Map.groupBy(changed, (file) => textOf(file, 'stage'));
  return [...byStage].map(([stage, files]) => {
    const paths = files.map((file) => textOf(file, 'path'));
    return { name: stage, before: null, after: paths, text: `${stage} made other files (${joinClauses(paths, 2)})` };
  });
}

/** Their values may be nobody's business. */
function envChanges({ before, after }: Pair): Difference[] {
  const [old, now] = [mapOf(before), mapOf(after)];
  return [...new Set([...Object.keys(old), ...Object.keys(now)])]
    .filter((name) => !same(old[name] ?? null, now[name] ?? null))
    .map((name) => ({ ...nameless(`the variable ${name} ${verbOf(old[name], now[name])}`), name }));
}

function secretChanges(pair: Pair): Difference[] {
  return named(pair, 'name', (name, verb, { before, after }) =>
    verb === 'changed'
      ? `the secret ${name} changed (version ${short(field(before, 'version'))} → ${short(field(after, 'version'))})`
      : `the secret ${name} ${verb}`,
  );
}

function runnerChanges(pair: Pair): Difference[] {
  const [was, is] = [textOf(pair.before, 'kind'), textOf(pair.after, 'kind')];
  if (was !== is) return [{ name: null, ...pair, text: arrow('runner', { before: was, after: is }) }];
  if (is === 'docker') return [{ name: null, ...pair, text: 'the base image changed' }];
  const words = { platform: 'platform', libc: 'C library', pythonBuild: 'Python' };
  return Object.entries(words).flatMap(([name, word]) => {
    const fields = { before: field(pair.before, name), after: field(pair.after, name) };
    return same(fields.before, fields.after) ? [] : [{ name, ...fields, text: arrow(word, fields) }];
  });
}

function outputChanges({ before, after }: Pair): Difference[] {
  const [old, now] = [listOf(before).map(String), listOf(after).map(String)];
  const words = [
    ...now.filter((path) => !old.includes(path)).map((path) => `${path} is an output now`),
    ...old.filter((path) => !now.includes(path)).map((path) => `${path} is no output any more`),
  ];
  return [{ name: null, before, after, text: joinClauses(words) || 'its outputs changed' }];
}

function sourceChanges({ before, after }: Pair): Difference[] {
  const key = (source: Json) => [textOf(source, 'name')];
  const [old, now] = [byText(listOf(before), key), byText(listOf(after), key)];
  return [...new Set([...old.keys(), ...now.keys()])].flatMap((id): Difference[] => {
    const pair = { before: old.get(id) ?? null, after: now.get(id) ?? null };
    if (same(pair.before, pair.after)) return [];
    const name = textOf(pair.after ?? pair.before, 'name');
    const about = `data ${name}`;
    if (pair.before === null || pair.after === null) {
      return [{ ...nameless(`the ${about} ${pair.before === null ? 'is new' : 'is gone'}`), name }];
    }
    return sourceParts(pair).map((text) => ({ ...nameless(`${about}: ${text}`), name }));
  });
}

const sourceWords: Readonly<Record<string, string>> = {
  kind: 'the kind',
  query: 'the query',
  segments: 'the rows',
  dataset: 'the dataset',
  digest: 'the files',
  to: 'the place',
  format: 'the format',
  asOf: 'the as-of',
  engineVersion: 'the engine',
};

function sourceParts({ before, after }: Pair): string[] {
  const parts = [...new Set([...Object.keys(mapOf(before)), ...Object.keys(mapOf(after))])];
  const differing = parts.filter((part) => !same(field(before, part), field(after, part)));
  if (differing.includes('kind')) return ['the kind changed'];
  return differing.flatMap((part) => {
    if (part === 'params') {
      return paramChanges({ before: field(before, part), after: field(after, part) }).map(({ text }) => text);
    }
    const word = sourceWords[part] ?? part;
    return [`${word} ${word === 'the rows' || word === 'the files' ? 'differ' : 'changed'}`];
  });
}

function acceleratorText(value: Json): string {
  return value === null ? 'none' : `${short(field(value, 'count'))} × ${short(field(value, 'type'))}`;
}

/** Items of a list that have a name each. */
function named(
  { before, after }: Pair,
  key: string,
  text: (name: string, verb: string, pair: Pair) => string,
): Difference[] {
  const id = (item: Json) => [textOf(item, key)];
  const [old, now] = [byText(listOf(before), id), byText(listOf(after), id)];
  return [...new Set([...old.keys(), ...now.keys()])].flatMap((item) => {
    const pair = { before: old.get(item) ?? null, after: now.get(item) ?? null };
    if (same(pair.before, pair.after)) return [];
    const name = textOf(pair.after ?? pair.before, key);
    return [{ name, ...pair, text: text(name, verbOf(old.get(item), now.get(item)), pair) }];
  });
}

function plain(word: string): Compare {
  return (pair) => [{ name: null, ...pair, text: isShort(pair) ? arrow(word, pair) : `${word} changed` }];
}

function isShort({ before, after }: Pair): boolean {
  return [before, after].every((value) => value === null || typeof value !== 'object');
}

function nameless(text: string): Difference {
  return { name: null, before: null, after: null, text };
}

function verbOf(before: unknown, after: unknown): string {
  if (before === undefined) return 'is new';
  return after === undefined ? 'is gone' : 'changed';
}

function arrow(word: string, { before, after }: Pair, text: (value: Json) => string = short): string {
  const [old, now] = [text(before), text(after)];
  // 1 and "1" look alike without their quotes, and long values may share their first letters.
  if (old !== now) return `${word} ${old} → ${now}`;
  const [oldJson, nowJson] = [cut(JSON.stringify(before)), cut(JSON.stringify(after))];
  return oldJson === nowJson ? `${word} changed` : `${word} ${oldJson} → ${nowJson}`;
}

const shownMax = 40;

function short(value: Json): string {
  if (typeof value === 'string' && /^[\w./:-]+$/.test(value)) return cut(value);
  return value === null ? 'none' : cut(JSON.stringify(value));
}

function cut(text: string): string {
  return text.length <= shownMax ? text : `${text.slice(0, shownMax - 1)}…`;
}

function same(a: Json, b: Json): boolean {
  return canonicalJson(a) === canonicalJson(b);
}

function jsonOf(value: unknown): Json {
  return value === undefined ? null : (value as Json);
}

function listOf(value: Json): readonly Json[] {
  return Array.isArray(value) ? (value as readonly Json[]) : [];
}

function mapOf(value: Json): { readonly [key: string]: Json } {
  return isMap(value as ParamValue) ? (value as { readonly [key: string]: Json }) : {};
}

function field(value: Json, name: string): Json {
  return mapOf(value)[name] ?? null;
}

function textOf(value: Json, name: string): string {
  const found = field(value, name);
  return typeof found === 'string' ? found : '';
}

function byText(items: readonly Json[], key: (item: Json) => string[]): Map<string, Json> {
  return new Map(items.map((item) => [canonicalJson(key(item)), item]));
}
