// The grammar of one gate rule: NAME (>= | <= | > | < | == | !=) (NUMBER | champion [± NUMBER] | NAME).

const comparisons = ['>=', '<=', '>', '<', '==', '!='] as const;
export type Comparison = (typeof comparisons)[number];

export type Threshold =
  | { kind: 'number'; value: number }
  | { kind: 'champion'; offset: number }
  | { kind: 'metric'; key: string };

export interface GateRule {
  text: string;
  key: string;
  comparison: Comparison;
  threshold: Threshold;
}

/** Where a rule stops making sense. `position` counts characters from 0. */
export interface GateRuleProblem {
  position: number;
  found: string;
  expected: string;
}

interface Token {
  kind: 'name' | 'number' | 'operator' | 'sign' | 'other' | 'end';
  text: string;
  position: number;
}

const tokenPattern =
  /\s*(?:(?<quoted>"[^"]+"|'[^']+'|`[^`]+`)|(?<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?(?![\w.%]))|(?<name>[A-Za-z_][\w./:@-]*)|(?<operator>[<>=!]{1,3})|(?<sign>[+-])|(?<other>\S+))/iy;

/** Never throws: a rule that cannot be read is an answer too. */
export function parseGateRule(text: string): GateRule | GateRuleProblem {
  const tokens = tokensOf(text);
  const end: Token = { kind: 'end', text: '', position: text.length };
  const [name = end, operator = end, ...rest] = tokens;
  if (name.kind !== 'name') return unexpected(name, 'the name of a metric');
  if (name.text === 'champion') return unexpected(name, 'the name of a metric; champion stands on the right');
  const comparison = comparisons.find((known) => known === operator.text);
  if (!comparison) return unexpected(operator, `one of ${comparisons.join(' ')}`);
  const threshold = parseThreshold(rest, end);
  return 'position' in threshold ? threshold : { text, key: name.text, comparison, threshold };
}

export function isGateRule(parsed: GateRule | GateRuleProblem): parsed is GateRule {
  return 'key' in parsed;
}

function parseThreshold(tokens: Token[], end: Token): Threshold | GateRuleProblem {
  const [first = end, ...rest] = tokens;
  if (first.kind === 'name' && first.text === 'champion') return parseChampion(rest);
  const [extra] = rest;
  if (extra) return unexpected(extra, 'the end of the rule');
  if (first.kind === 'number') return { kind: 'number', value: Number(first.text) };
  if (first.kind === 'name') return { kind: 'metric', key: first.text };
  return unexpected(first, 'a number, champion, or the name of a metric');
}

function parseChampion(tokens: Token[]): Threshold | GateRuleProblem {
  const [sign, amount, extra] = tokens;
  if (!sign) return { kind: 'champion', offset: 0 };
  // `champion -0.005` and `champion-0.005` read as one signed number.
  if (sign.kind === 'number' && /^[+-]/.test(sign.text)) {
    return amount ? unexpected(amount, 'the end of the rule') : { kind: 'champion', offset: Number(sign.text) };
  }
  if (sign.kind !== 'sign') return unexpected(sign, '+ or - and a number, or the end of the rule');
  const end: Token = { kind: 'end', text: '', position: sign.position + 1 };
  if (amount?.kind !== 'number' || !/^[\d.]/.test(amount.text)) return unexpected(amount ?? end, 'a number');
  if (extra) return unexpected(extra, 'the end of the rule');
  return { kind: 'champion', offset: Number(sign.text + amount.text) };
}

function tokensOf(text: string): Token[] {
  const tokens: Token[] = [];
  const pattern = new RegExp(tokenPattern);
  for (let match = pattern.exec(text); match; match = pattern.exec(text)) {
    const { quoted, number, name, operator, sign, other = '' } = match.groups ?? {};
    const position = pattern.lastIndex - match[0].trimStart().length;
    if (quoted) tokens.push({ kind: 'name', text: quoted.slice(1, -1), position });
    else if (number) tokens.push({ kind: 'number', text: number, position });
    else if (name) tokens.push(...nameTokens(name, position));
    else if (operator) tokens.push({ kind: 'operator', text: operator, position });
    else if (sign) tokens.push({ kind: 'sign', text: sign, position });
    else tokens.push({ kind: 'other', text: other, position });
  }
  return tokens;
}

// Names may contain dashes, so `champion-0.005` and `champion- 0.005` have to be taken apart.
function nameTokens(name: string, position: number): Token[] {
  const amount = /^champion(-(?:(?:\d+\.?\d*|\.\d+)(?:e-?\d+)?)?)$/.exec(name)?.[1];
  if (!amount) return [{ kind: 'name', text: name, position }];
  return [
    { kind: 'name', text: 'champion', position },
    { kind: amount === '-' ? 'sign' : 'number', text: amount, position: position + 'champion'.length },
  ];
}

function unexpected(token: Token, expected: string): GateRuleProblem {
  return {
    position: token.position,
    found: token.kind === 'end' ? 'the end of the rule' : `"${token.text}"`,
    expected,
  };
}
