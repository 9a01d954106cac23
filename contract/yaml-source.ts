// Text of a project file → plain value, with the place of every key. Nothing here knows what the keys mean.
import {
  isAlias,
  isMap,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  visit,
  type Document,
  type Node,
} from 'yaml';
import type { ProjectConcern, ProjectProblem } from './project-problem.ts';
import { problemSentence } from './project-problem.ts';

const sizeMax = 256 * 1024;
const aliasesMax = 100;

export interface YamlSource {
  value: unknown;
  /** Puts a concern where it belongs in the text. */
  locate(concern: ProjectConcern): ProjectProblem;
}

/** Answers every syntax problem of the text at once. An empty text is an empty map. Scalars at `isText` stay text. */
export function readYaml(
  text: string,
  file: string,
  isText: (path: readonly string[]) => boolean,
): YamlSource | { problems: ProjectProblem[] } {
  if (text.length > sizeMax) {
    return { problems: [fileProblem(file, `${text.length} characters`, `at most ${sizeMax}`)] };
  }
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true, merge: true, prettyErrors: false });
  if (document.errors.some((error) => error.message.includes('call stack'))) {
    return { problems: [fileProblem(file, 'lists or maps nested too deeply', 'a project file')] };
  }
  if (document.errors.length > 0)
    return { problems: document.errors.map((error) => syntaxProblem(file, lines, error)) };
  keepSpelling(document, isText);
  const value = plainValue(document, file);
  if ('problems' in value) return value;
  return { value: value.value ?? {}, locate: (concern) => locate(concern, document, lines, file) };
}

function plainValue(document: Document, file: string): { value: unknown } | { problems: ProjectProblem[] } {
  try {
    return { value: document.toJS({ maxAliasCount: aliasesMax }) as unknown };
  } catch (error) {
    if (!(error instanceof ReferenceError || error instanceof RangeError)) throw error;
    return { problems: [fileProblem(file, 'too many or too deeply nested aliases', `at most ${aliasesMax} aliases`)] };
  }
}

const syntaxSentences: Readonly<Record<string, string>> = {
  TAB_AS_INDENT: 'found a tab in the indentation; expected spaces.',
  DUPLICATE_KEY: 'found the same key twice in one map; expected each key once.',
  MULTIPLE_DOCS: 'found a second document after ---; expected one.',
};

function syntaxProblem(
  file: string,
  lines: LineCounter,
  error: { code: string; message: string; pos: [number, number] },
): ProjectProblem {
  const { line, col } = lines.linePos(error.pos[0]);
  const message = syntaxSentences[error.code] ?? `${error.message.replace(/\.?$/, '.')} The file is not valid YAML.`;
  return { file, line, column: col, key: '', found: error.message, expected: 'valid YAML', message };
}

function fileProblem(file: string, found: string, expected: string): ProjectProblem {
  return { file, line: 1, column: 1, key: '', found, expected, message: problemSentence('', { found, expected }) };
}

function locate(concern: ProjectConcern, document: Document, lines: LineCounter, file: string): ProjectProblem {
  const { line, col } = lines.linePos(offsetOf(document, concern.path, concern.atKey ?? false));
  const key = concern.path.map(String).join('.');
  const { found, expected } = concern;
  return { file, line, column: col, key, found, expected, message: problemSentence(key, concern) };
}

// The deepest part of the path that the text has; a missing key points at the map that lacks it.
function offsetOf(document: Document, path: readonly PropertyKey[], atKey: boolean): number {
  let node: unknown = document.contents;
  let offset = startOf(document.contents) ?? 0;
  for (const [index, part] of path.entries()) {
    if (isAlias(node)) node = node.resolve(document);
    const child = childOf(node, part);
    if (child === null) return offset;
    const isLast = index === path.length - 1;
    const atValue = isLast && !atKey && !isBlock(child.value);
    offset = (atValue ? startOf(child.value) : null) ?? startOf(child.key) ?? offset;
    node = child.value;
  }
  return offset;
}

function childOf(node: unknown, part: PropertyKey): { key: unknown; value: unknown } | null {
  if (isSeq(node)) {
    const item = node.items[Number(part)];
    return item === undefined ? null : { key: item, value: item };
  }
  if (!isMap(node)) return null;
  const pair = node.items.find((item) => isPair(item) && isScalar(item.key) && String(item.key.value) === String(part));
  return pair ? { key: pair.key, value: pair.value } : null;
}

// A block begins on the line after its key, where its first child stands.
function isBlock(node: unknown): boolean {
  return (isMap(node) || isSeq(node)) && node.flow !== true;
}

function startOf(node: unknown): number | null {
  return (node as Node | null)?.range?.[0] ?? null;
}

// An unquoted `python: 3.10` or `DEBUG: 0` is meant as text; the number would lose the spelling.
function keepSpelling(document: Document, isText: (path: readonly string[]) => boolean): void {
  visit(document, {
    Scalar(key, node, ancestors) {
      const isNumberOrBoolean = typeof node.value === 'number' || typeof node.value === 'boolean';
      if (key === 'value' && isNumberOrBoolean && isText(keysOf(ancestors))) node.value = node.source;
    },
  });
}

function keysOf(ancestors: readonly unknown[]): string[] {
  return ancestors.flatMap((node) => (isPair(node) && isScalar(node.key) ? [String(node.key.value)] : []));
}
