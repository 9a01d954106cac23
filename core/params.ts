// Parameters: what the project declares, what a run overrides, and how a stage gets the result.
import { DomainError, type ErrorDetail } from './errors.ts';
import { didYouMean } from './nearest.ts';
import type { Params, ParamStyle, ParamValue } from './project.ts';

/** What a run asked for: dotted names, as in `-P model.depth=4`. A text is read as the declared value's type. */
export type Overrides = Readonly<Record<string, ParamValue>>;

/**
 * Reads `model.depth=4`. The value is a JSON literal when its text says exactly that; `3.10` or `007` stay text, so
 * that nothing of their spelling is lost before the declared type is known. Throws `invalid-parameters`.
 */
export function parseOverride(text: string): { name: string; value: ParamValue } {
  const equals = text.indexOf('=');
  const name = text.slice(0, equals).trim();
  if (equals < 1 || name === '') {
    throw new DomainError('invalid-parameters', `Found -P ${text}; expected NAME=VALUE, for example -P model.depth=4.`);
  }
  return { name, value: literalOrText(text.slice(equals + 1)) };
}

/**
 * The values a run uses. `declared` comes from the parameter file and the project file; null means that nothing
 * declares names, so any is accepted. Throws `invalid-parameters` with every wrong override at once.
 */
export function resolveParams(declared: Params | null, overrides: Overrides, style: ParamStyle): Params {
  let resolved: Params = declared ?? {};
  const problems: ErrorDetail[] = [];
  for (const [name, value] of Object.entries(overrides)) {
    const result = override(resolved, declared, name, value, style);
    if (typeof result === 'string') problems.push({ path: name, message: result });
    else resolved = result;
  }
  const twins = twinNames(resolved);
  if (twins !== null) problems.push({ path: twins, message: twinSentence(twins) });
  if (problems.length > 0) {
    throw new DomainError('invalid-parameters', problems.map((problem) => problem.message).join(' '), problems);
  }
  return resolved;
}

/** The part of the parameters a stage asked for; a name covers everything below it. Null asks for all. */
export function narrowParams(params: Params, names: readonly string[] | null): Params {
  if (names === null) return params;
  let narrowed: Params = {};
  for (const name of names) {
    const path = pathOf(params, name);
    if (path) narrowed = replaced(narrowed, path, valueAt(params, path) ?? null) as Params;
  }
  return narrowed;
}

/** Leaves as dotted names, in declared order; lists and empty maps are leaves. */
export function flattenParams(params: Params, prefix = ''): [string, ParamValue][] {
  return Object.entries(params).flatMap(([key, value]): [string, ParamValue][] => {
    const name = prefix + key;
    return isMap(value) && Object.keys(value).length > 0 ? flattenParams(value, `${name}.`) : [[name, value]];
  });
}

// A hydra project composes its configuration itself: names it marks as new or removed are its own business.
const hydraMark = /^(\+\+?|~)/;

/** The parameters with one override applied, or the sentence that refuses it. */
function override(
  resolved: Params,
  declared: Params | null,
  name: string,
  value: ParamValue,
  style: ParamStyle,
): Params | string {
  const unsafe = name.split('.').some((part) => part === '' || part === '__proto__');
  if (unsafe) return `Found the parameter name "${name}"; expected names joined by dots.`;
  if (declared === null && (style === 'json' || style === 'template')) {
    return `Found -P ${name}, but this project declares no parameters. Name their file in assay.yaml (params: { file: params.json }), or say how the script takes them (params: { style: argv }).`;
  }
  if (declared === null || (style === 'hydra' && (hydraMark.test(name) || 'defaults' in declared))) {
    return { ...resolved, [name]: value };
  }
  const path = pathOf(declared, name);
  if (path === null) return unknownName(declared, name);
  const typed = asDeclared(valueAt(declared, path) ?? null, value);
  if (typed === undefined) return mistyped(name, valueAt(declared, path) ?? null, value);
  return replaced(resolved, path, typed) as Params;
}

// A key that itself contains dots wins over the path of the same spelling. The path is spelled as it is declared.
function pathOf(declared: Params, name: string): string[] | null {
  const whole = declaredKey(declared, name);
  if (whole !== undefined) return [whole];
  const path: string[] = [];
  for (const part of name.split('.')) {
    const value = valueAt(declared, path);
    path.push((isMap(value) && declaredKey(value, part)) || part);
  }
  return valueAt(declared, path) === undefined ? null : path;
}

/** The key as the map has it: a terminal and an editor may write one letter in two forms of Unicode. */
function declaredKey(map: Params, name: string): string | undefined {
  if (Object.hasOwn(map, name)) return name;
  const wanted = name.normalize('NFC');
  return Object.keys(map).find((key) => key.normalize('NFC') === wanted);
}

/** A name that one map has in two forms of Unicode, which nobody could tell apart; null where there is none. */
function twinNames(value: ParamValue): string | null {
  if (typeof value !== 'object' || value === null) return null;
  const names = Array.isArray(value) ? [] : Object.keys(value).map((name) => name.normalize('NFC'));
  const twin = names.find((name, index) => names.indexOf(name) !== index);
  return twin ?? Object.values(value).reduce<string | null>((found, item) => found ?? twinNames(item), null);
}

function twinSentence(name: string): string {
  return `Found the parameter "${name}" twice, in two forms of Unicode; expected each name once.`;
}

function unknownName(declared: Params, name: string): string {
  const names = flattenParams(declared).map(([known]) => known);
  const list = names.length > 12 ? `${names.slice(0, 12).join(', ')} and ${names.length - 12} more` : names.join(', ');
  return `Found the parameter "${name}", which the project does not declare.${didYouMean(name, names)} Declared: ${list || 'nothing'}.`;
}

/** Undefined means that the value does not fit what is declared. */
function asDeclared(declared: ParamValue, value: ParamValue): ParamValue | undefined {
  if (typeof declared === 'string') {
    return typeof value === 'number' || typeof value === 'boolean' ? String(value) : value;
  }
  const literal = typeof value === 'string' ? anyLiteral(value) : value;
  if (Array.isArray(declared)) return Array.isArray(literal) ? literal : undefined;
  if (isMap(declared)) return isMap(literal) ? literal : undefined;
  return literal === undefined ? value : literal;
}

function mistyped(name: string, declared: ParamValue, value: ParamValue): string {
  const example = JSON.stringify(declared);
  const kind = Array.isArray(declared) ? 'a list' : 'a map';
  return `Found ${JSON.stringify(value)} for "${name}"; expected ${kind} in JSON, such as ${example.slice(0, 80)}.`;
}

function literalOrText(text: string): ParamValue {
  const literal = anyLiteral(text);
  if (literal === undefined || typeof literal === 'string') return text;
  return typeof literal === 'number' && JSON.stringify(literal) !== text ? text : literal;
}

function anyLiteral(text: string): ParamValue | undefined {
  if (/^(true|false)$/i.test(text)) return text.toLowerCase() === 'true';
  try {
    const literal = JSON.parse(text) as ParamValue;
    return typeof literal === 'number' && !Number.isFinite(literal) ? undefined : literal;
  } catch {
    return undefined;
  }
}

function valueAt(params: Params, path: readonly string[]): ParamValue | undefined {
  let value: ParamValue | undefined = params;
  for (const part of path) {
    if (Array.isArray(value)) value = value[Number(part)];
    else if (isMap(value)) value = Object.hasOwn(value, part) ? value[part] : undefined;
    else return undefined;
  }
  return value;
}

function replaced(value: ParamValue | undefined, path: readonly string[], leaf: ParamValue): ParamValue {
  const [part, ...rest] = path;
  if (part === undefined) return leaf;
  if (Array.isArray(value)) return value.with(Number(part), replaced(value[Number(part)], rest, leaf));
  const map = isMap(value) ? value : {};
  return { ...map, [part]: replaced(map[part], rest, leaf) };
}

export function isMap(value: ParamValue | undefined): value is Params {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
