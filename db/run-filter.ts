// The text of a run search, parsed: comparisons joined by `and`. Close to MLflow's search language, so that what people
// know works. The result is data; only db/run-search.ts turns it into SQL, with every value as a parameter.
import { DomainError } from '#core/errors.ts';

export const operators = [
  '=',
  '!=',
  '<',
  '<=',
  '>',
  '>=',
  'like',
  'ilike',
  'in',
  'not in',
  'is null',
  'is not null',
] as const;
export type Operator = (typeof operators)[number];

export type FieldKind = 'attribute' | 'param' | 'metric' | 'tag';

export interface Field {
  kind: FieldKind;
  /** Empty for `tag`. */
  name: string;
  position: number;
}

export interface Comparison {
  field: Field;
  operator: Operator;
  /** One value, several for `in`, none for `is null`. */
  values: Array<string | number>;
  position: number;
}

const comparisonsMax = 32;
const valuesMax = 200;

interface Token {
  kind: 'word' | 'name' | 'text' | 'number' | 'operator' | 'sign' | 'other' | 'end';
  text: string;
  position: number;
}

const tokenPattern =
  /\s*(?:(?<text>'(?:[^']|'')*')|(?<name>`[^`]+`|"[^"]+")|(?<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d{1,3})?(?![\w.]))|(?<word>[a-z_][\w/-]*)|(?<operator><=|>=|!=|==|<>|[=<>])|(?<sign>[().,])|(?<other>\S))/iy;

/** @throws invalid-request that says where the text stops making sense, counted in characters from 1. */
export function parseRunFilter(text: string): Comparison[] {
  const reader = createReader(text, 'filter');
  const comparisons: Comparison[] = [];
  if (reader.peek().kind === 'end') return comparisons;
  do {
    if (comparisons.length === comparisonsMax) throw reader.unexpected(`at most ${comparisonsMax} comparisons`);
    comparisons.push(parseComparison(reader));
  } while (reader.takeWord('and'));
  if (reader.peek().kind !== 'end') throw reader.unexpected('`and` or the end of the filter');
  return comparisons;
}

export interface SortOrder {
  field: Field;
  descending: boolean;
}

/** @throws invalid-request */
export function parseRunSort(text: string): SortOrder {
  const reader = createReader(text, 'sort');
  const field = parseField(reader);
  const descending = reader.takeWord('desc');
  if (!descending) reader.takeWord('asc');
  if (reader.peek().kind !== 'end') throw reader.unexpected('asc, desc or the end; one key sorts');
  return { field, descending };
}

interface Reader {
  peek: () => Token;
  take: () => Token;
  takeWord: (word: string) => boolean;
  takeSign: (sign: string) => boolean;
  unexpected: (expected: string) => DomainError;
}

function createReader(text: string, parameter: string): Reader {
  const tokens = tokensOf(text);
  const end: Token = { kind: 'end', text: '', position: text.length };
  let at = 0;
  const peek = () => tokens[at] ?? end;
  const takeIf = (matches: boolean) => {
    if (matches) at += 1;
    return matches;
  };
  return {
    peek,
    take() {
      const token = peek();
      at += 1;
      return token;
    },
    takeWord: (word) => takeIf(peek().kind === 'word' && peek().text.toLowerCase() === word),
    takeSign: (sign) => takeIf(peek().kind === 'sign' && peek().text === sign),
    unexpected: (expected) => refusal(parameter, peek(), expected),
  };
}

function refusal(parameter: string, token: Token, expected: string): DomainError {
  const found = token.kind === 'end' ? 'the end' : token.text.slice(0, 60);
  const message = `At character ${token.position + 1}: found ${found}, expected ${expected}.`;
  return new DomainError('invalid-request', `The ${parameter} can not be read. ${message}`, [
    { path: `query.${parameter}`, message },
  ]);
}

/** Also for what only the search knows: a name that does not exist, a value of the wrong kind. */
export function refuseField(parameter: 'filter' | 'sort', field: Field, message: string): DomainError {
  const text = `At character ${field.position + 1}: ${message}`;
  return new DomainError('invalid-request', `The ${parameter} can not be used. ${text}`, [
    { path: `query.${parameter}`, message: text },
  ]);
}

function tokensOf(text: string): Token[] {
  const tokens: Token[] = [];
  const pattern = new RegExp(tokenPattern);
  for (let match = pattern.exec(text); match; match = pattern.exec(text)) {
    const [kind, found] = Object.entries(match.groups ?? {}).find(([, value]) => value !== undefined) ?? ['other', ''];
    tokens.push({ kind: kind as Token['kind'], text: found, position: pattern.lastIndex - found.length });
  }
  return tokens;
}

function parseComparison(reader: Reader): Comparison {
  const { position } = reader.peek();
  const field = parseField(reader);
  const operator = parseOperator(reader);
  if (operator === 'is null' || operator === 'is not null') return { field, operator, values: [], position };
  const values = operator === 'in' || operator === 'not in' ? parseList(reader) : [parseValue(reader)];
  return { field, operator, values, position };
}

const kinds: Readonly<Record<string, FieldKind>> = {
  attribute: 'attribute',
  attributes: 'attribute',
  attr: 'attribute',
  run: 'attribute',
  param: 'param',
  params: 'param',
  parameter: 'param',
  parameters: 'param',
  metric: 'metric',
  metrics: 'metric',
};

function parseField(reader: Reader): Field {
  const first = reader.peek();
  if (first.kind !== 'word' && first.kind !== 'name') {
    throw reader.unexpected('attributes.NAME, params.NAME, metrics.NAME or tag');
  }
  reader.take();
  const { position } = first;
  if (!reader.takeSign('.')) {
    const isTag = first.kind === 'word' && /^tags?$/i.test(first.text);
    return isTag ? { kind: 'tag', name: '', position } : { kind: 'attribute', name: unquoted(first), position };
  }
  const kind = kinds[first.text.toLowerCase()];
  if (kind === undefined) throw refusal('filter', first, 'attributes, params, metrics or tag');
  return { kind, name: parseName(reader), position };
}

/** `metrics.val.loss` reads as one name; anything stranger goes between backquotes. */
function parseName(reader: Reader): string {
  const parts: string[] = [];
  do {
    const token = reader.peek();
    if (token.kind !== 'word' && token.kind !== 'name' && token.kind !== 'number') throw reader.unexpected('a name');
    parts.push(unquoted(reader.take()));
  } while (reader.takeSign('.'));
  return parts.join('.');
}

function unquoted(token: Token): string {
  return token.kind === 'name' ? token.text.slice(1, -1) : token.text;
}

function parseOperator(reader: Reader): Operator {
  if (reader.takeWord('is')) {
    const not = reader.takeWord('not');
    if (!reader.takeWord('null')) throw reader.unexpected('null');
    return not ? 'is not null' : 'is null';
  }
  if (reader.takeWord('not')) {
    if (!reader.takeWord('in')) throw reader.unexpected('in');
    return 'not in';
  }
  const text = reader.peek().text.toLowerCase();
  const spelled = text === '==' ? '=' : text === '<>' ? '!=' : text;
  const operator = operators.find((known) => known === spelled);
  if (operator === undefined) throw reader.unexpected(`one of ${operators.join(', ')}`);
  reader.take();
  return operator;
}

function parseList(reader: Reader): Array<string | number> {
  if (!reader.takeSign('(')) throw reader.unexpected('(');
  const values: Array<string | number> = [];
  do {
    if (values.length === valuesMax) throw reader.unexpected(`at most ${valuesMax} values`);
    values.push(parseValue(reader));
  } while (reader.takeSign(','));
  if (!reader.takeSign(')')) throw reader.unexpected(', or )');
  return values;
}

function parseValue(reader: Reader): string | number {
  const token = reader.peek();
  if (token.kind === 'number') {
    const value = Number(token.text);
    if (!Number.isFinite(value)) throw reader.unexpected('a number that fits');
    reader.take();
    return value;
  }
  if (token.kind !== 'text' && !(token.kind === 'name' && token.text.startsWith('"'))) {
    throw reader.unexpected("a number or a 'quoted' text");
  }
  reader.take();
  return token.kind === 'text' ? token.text.slice(1, -1).replaceAll("''", "'") : token.text.slice(1, -1);
}
