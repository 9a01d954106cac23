// zod's issues in the words of a project file: what was found, what was expected, and the nearest known key.
import { didYouMean, nearest } from '#core/nearest.ts';
import { z } from 'zod';
import { shown, type ProjectConcern } from './project-problem.ts';

type Issue = z.core.$ZodIssue;

/** Every issue of a value against a schema; unknown keys one by one. */
export function schemaConcerns(schema: z.ZodType, value: unknown): ProjectConcern[] {
  const parsed = schema.safeParse(value);
  if (parsed.success) return [];
  const concerns = parsed.error.issues.flatMap((issue) => concernsOf(issue, [], value, schema));
  const misspelled = new Set(concerns.flatMap((concern) => (concern.meant ? [pathText(concern.meant)] : [])));
  return concerns.filter((concern) => concern.atKey || !misspelled.has(pathText(concern.path)));
}

function pathText(path: readonly PropertyKey[]): string {
  return JSON.stringify(path.map(String));
}

function concernsOf(issue: Issue, base: PropertyKey[], value: unknown, schema: z.ZodType): SchemaConcern[] {
  const path = [...base, ...issue.path];
  if (issue.code === 'unrecognized_keys') {
    const known = keysAt(schema, path, value);
    return issue.keys.map((key) => unknownKey([...path, key], key, known));
  }
  if (issue.code === 'invalid_key') {
    const name = String(path.at(-1));
    return [
      { path, atKey: true, found: `the name ${shown(name)}`, expected: issue.issues[0]?.message ?? issue.message },
    ];
  }
  const branch = issue.code === 'invalid_union' ? likelyBranch(issue.errors) : null;
  if (branch) return branch.flatMap((inner) => concernsOf(inner, path, value, schema));
  return [{ path, found: shown(valueAt(value, path)), expected: issue.message }];
}

/** A misspelled key is not reported as missing too; `meant` is where the right one would stand. */
interface SchemaConcern extends ProjectConcern {
  meant?: readonly PropertyKey[];
}

function unknownKey(path: PropertyKey[], key: string, known: readonly string[]): SchemaConcern {
  const found = `the unknown key ${shown(key)}`;
  const candidate = nearest(key, known);
  if (candidate !== null) {
    const meant = [...path.slice(0, -1), candidate];
    return { path, atKey: true, found, expected: 'a known key', hint: didYouMean(key, known), meant };
  }
  return { path, atKey: true, found, expected: known.length === 0 ? 'a known key' : `one of ${known.join(', ')}` };
}

/** Of a union's branches, the one whose outer shape fits, so that the message names the wrong part and not the whole. */
function likelyBranch(branches: readonly (readonly Issue[])[]): readonly Issue[] | null {
  const fitting = branches.filter(
    (issues) => !issues.some((issue) => issue.code === 'invalid_type' && issue.path.length === 0),
  );
  const fewest = fitting.sort((a, b) => weight(a) - weight(b));
  return fewest[0] ?? null;
}

function weight(issues: readonly Issue[]): number {
  return issues.reduce((sum, issue) => sum + (issue.code === 'unrecognized_keys' ? issue.keys.length : 1), 0);
}

/** The keys the schema knows at a path, through records, lists, optionals and the union branch that fits the value. */
function keysAt(schema: z.ZodType, path: readonly PropertyKey[], value: unknown): string[] {
  const keys = new Set<string>();
  for (const candidate of schemasAt(schema, path)) {
    if (candidate instanceof z.ZodObject && fits(candidate, valueAt(value, path))) {
      for (const key of Object.keys(candidate.shape)) keys.add(key);
    }
  }
  return [...keys];
}

// With several shapes at one place, only those that share a key with what is written are worth suggesting.
function fits(schema: z.ZodObject, value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return true;
  const written = Object.keys(value);
  return written.length === 0 || Object.keys(schema.shape).length > 4 || written.some((key) => key in schema.shape);
}

function schemasAt(schema: z.core.$ZodType, path: readonly PropertyKey[]): z.core.$ZodType[] {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodNullable) return schemasAt(schema.unwrap(), path);
  if (schema instanceof z.ZodUnion) return schema.options.flatMap((option) => schemasAt(option, path));
  const [key, ...rest] = path;
  if (key === undefined) return [schema];
  if (schema instanceof z.ZodArray) return schemasAt(schema.element, rest);
  if (schema instanceof z.ZodRecord) return schemasAt(schema.valueType, rest);
  const child = schema instanceof z.ZodObject ? (schema.shape[String(key)] as z.core.$ZodType | undefined) : undefined;
  return child ? schemasAt(child, rest) : [];
}

export function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  let current = value;
  for (const part of path) {
    if (typeof current !== 'object' || current === null || !Object.hasOwn(current, part)) return undefined;
    current = (current as Record<PropertyKey, unknown>)[part];
  }
  return current;
}

/** What is left of a value when its wrong parts are taken out, so that the right ones can be checked further. */
export function validPart<T extends z.ZodType>(schema: T, value: unknown): z.output<T> | null {
  let part = value;
  for (let round = 0; round < roundsMax; round++) {
    const parsed = schema.safeParse(part);
    if (parsed.success) return parsed.data;
    part = withoutConcerns(part, schemaConcerns(schema, part));
  }
  return null;
}

// Taking out a part can leave its map without a key it must have, and so on upwards.
const roundsMax = 8;

// A missing key takes its map along.
function withoutConcerns(value: unknown, concerns: readonly ProjectConcern[]): unknown {
  let pruned = value;
  for (const { path } of concerns) {
    const isPresent = path.length > 0 && valueAt(pruned, path) !== undefined;
    pruned = remove(pruned, isPresent ? path : path.slice(0, -1));
  }
  return pruned;
}

function remove(value: unknown, path: readonly PropertyKey[]): unknown {
  const [part, ...rest] = path;
  if (part === undefined || typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  if (!Object.hasOwn(value, part)) return value;
  const inner = rest.length === 0 ? undefined : remove((value as Record<PropertyKey, unknown>)[part], rest);
  const others = Object.entries(value).flatMap(([key, item]) =>
    key !== part ? [[key, item] as const] : inner === undefined ? [] : [[key, inner] as const],
  );
  return Object.fromEntries(others);
}
