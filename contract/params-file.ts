// Parameter files, JSON or YAML by their ending. Writing keeps what the run did not change: order, comments, `1.0`.
import { DomainError } from '#core/errors.ts';
import { flattenParams, isMap as isPlainMap } from '#core/params.ts';
import type { Params, ParamValue } from '#core/project.ts';
import { isAlias, isMap, isScalar, isSeq, parseDocument, type Document } from 'yaml';

const sizeMax = 1024 * 1024;

/** Throws `invalid-parameters` with file and line when the text is no map of parameters. */
export function readParamsFile(path: string, text: string): Params {
  const value = parse(path, text).toJS({ maxAliasCount: 100 }) as unknown;
  if (value === null || value === undefined) return {};
  const unsuitable = typeof value === 'object' && !Array.isArray(value) ? notJson(value as Params) : 'no map';
  if (unsuitable) throw refusal(path, 1, `found ${unsuitable}; expected names with values that JSON can hold`);
  return value as Params;
}

/** The file's text with the values of `params`; names that `params` lacks are left out. */
export function writeParamsFile(path: string, original: string, params: Params): string {
  const declared = readParamsFile(path, original);
  if (JSON.stringify(declared) === JSON.stringify(params)) return original;
  const document = parse(path, original);
  if (isJson(path)) return `${jsonOf(params, document.contents, document, 0)}\n`;
  updateYaml(document, [], declared, params);
  return document.toString({ lineWidth: 0 });
}

function parse(path: string, text: string): Document {
  if (text.length > sizeMax) throw refusal(path, 1, `found ${text.length} characters; expected at most ${sizeMax}`);
  const document = parseDocument(text.replace(/^\uFEFF/, ''), { merge: true, prettyErrors: true, intAsBigInt: false });
  const [error] = document.errors;
  if (error)
    throw refusal(path, error.linePos?.[0].line ?? 1, (error.message.split('\n')[0] ?? '').replace(/ at line.*$/, ''));
  return document;
}

function refusal(path: string, line: number, message: string): DomainError {
  return new DomainError('invalid-parameters', `${path}:${line} ${message}.`, [{ path, file: path, line, message }]);
}

function isJson(path: string): boolean {
  return /\.json$/i.test(path);
}

function notJson(params: Params): string | null {
  const bad = flattenParams(params).find(([, value]) => typeof value === 'number' && !Number.isFinite(value));
  return bad ? `NaN or an infinity at ${bad[0]}` : null;
}

// Numbers that did not change keep their spelling, because Python reads 1.0 and 1 as different types.
function jsonOf(value: ParamValue, node: unknown, document: Document, depth: number): string {
  const original = isAlias(node) ? node.resolve(document) : node;
  const [inner, outer] = ['  '.repeat(depth + 1), '  '.repeat(depth)];
  if (Array.isArray(value)) {
    const items = value.map((item, index) =>
      jsonOf(item, isSeq(original) ? original.items[index] : null, document, depth + 1),
    );
    return items.length === 0 ? '[]' : `[\n${items.map((item) => inner + item).join(',\n')}\n${outer}]`;
  }
  if (typeof value === 'object' && value !== null) {
    const names = orderedKeys(value, original);
    const items = names.map((name) => {
      const child = isMap(original) ? original.get(name, true) : null;
      return `${inner}${JSON.stringify(name)}: ${jsonOf(value[name] ?? null, child, document, depth + 1)}`;
    });
    return items.length === 0 ? '{}' : `{\n${items.join(',\n')}\n${outer}}`;
  }
  const isSame = typeof value === 'number' && isScalar(original) && original.value === value && original.source;
  return isSame && jsonNumber.test(isSame) ? isSame : JSON.stringify(value);
}

const jsonNumber = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;

// JavaScript moves keys that look like numbers to the front; the file's order is the user's.
function orderedKeys(value: Params, node: unknown): string[] {
  const written = isMap(node) ? node.items.map((item) => String(isScalar(item.key) ? item.key.value : item.key)) : [];
  const keys = Object.keys(value);
  return [...written.filter((key) => keys.includes(key)), ...keys.filter((key) => !written.includes(key))];
}

function updateYaml(document: Document, path: string[], declared: Params, params: Params): void {
  for (const name of new Set([...Object.keys(declared), ...Object.keys(params)])) {
    const [before, after, at] = [declared[name], params[name], [...path, name]];
    if (JSON.stringify(before) === JSON.stringify(after)) continue;
    if (after === undefined) document.deleteIn(at);
    else if (isPlainMap(before) && isPlainMap(after) && document.hasIn(at) && isMap(document.getIn(at, true))) {
      updateYaml(document, at, before, after);
    } else document.setIn(at, document.createNode(after));
  }
}
