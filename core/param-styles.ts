// How resolved parameters reach a command, by style. Writing a parameter file is the caller's business.
import { DomainError } from './errors.ts';
import { flattenParams, narrowParams, type Overrides } from './params.ts';
import type { Params, ParamStyle, ParamValue } from './project.ts';

type Command = string | string[];

export interface RenderedParams {
  /** Same kind as the command given: a string for /bin/sh, with every value quoted, or an argument vector. */
  command: Command;
  env: Record<string, string>;
}

/**
 * `params` are the stage's resolved parameters; `overrides` what the run asked for, which is all that hydra is told.
 * Throws `invalid-parameters` when a template names a parameter that has no value.
 */
export function renderParams(
  style: ParamStyle,
  command: Command,
  params: Params,
  overrides: Overrides,
): RenderedParams {
  switch (style) {
    case 'json':
      return { command, env: {} };
    case 'env':
      return { command, env: environment(params) };
    case 'argv':
      return { command: append(command, argumentsOf(params)), env: {} };
    case 'hydra':
      return { command: append(command, hydraOverrides(narrowParams(params, Object.keys(overrides)))), env: {} };
    case 'template':
      return { command: fill(command, params), env: {} };
  }
}

/** One word for /bin/sh. */
function shellQuote(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

// True is a bare flag, false and null are left out, lists repeat the flag; `=` keeps a leading dash from being a flag.
function argumentsOf(params: Params): string[] {
  return flattenParams(params).flatMap(([name, value]) => {
    const flag = `--${name}`;
    if (value === null || value === false) return [];
    if (value === true) return [flag];
    if (Array.isArray(value)) return value.flatMap((item) => [flag, plainText(item)]);
    const text = plainText(value);
    return typeof value === 'string' && text.startsWith('-') ? [`${flag}=${text}`] : [flag, text];
  });
}

// A parameter must not replace what the process itself lives by.
const reservedVariable =
  /^(PATH|HOME|TMPDIR|USER|SHELL|PYTHONPATH|PYTHONHOME|VIRTUAL_ENV|LD_.*|DYLD_.*|ASSAY_.*|MLFLOW_.*)$/;

function environment(params: Params): Record<string, string> {
  const variables: Record<string, string> = {};
  for (const [name, value] of flattenParams(params)) {
    if (value === null) continue;
    const variable = name.toUpperCase().replaceAll(/[^A-Z0-9]/g, '_');
    variables[`ASSAY_PARAM_${variable}`] = plainText(value);
    if (!reservedVariable.test(variable) && !/^\d/.test(variable)) variables[variable] = plainText(value);
  }
  return variables;
}

function hydraOverrides(params: Params): string[] {
  return flattenParams(params).map(([name, value]) => {
    return name.startsWith('~') ? name : `${name}=${hydraValue(value)}`;
  });
}

// Hydra's override grammar: https://hydra.cc/docs/advanced/override_grammar/basic/
function hydraValue(value: ParamValue): string {
  if (value === null || typeof value === 'boolean' || typeof value === 'number') return String(value);
  if (Array.isArray(value)) return `[${value.map(hydraValue).join(',')}]`;
  if (typeof value === 'object') {
    const items = Object.entries(value).map(([key, item]) => `${key}:${hydraValue(item)}`);
    return `{${items.join(',')}}`;
  }
  const plain = /^[\w./:+%@?|-]+$/.test(value) && !/^(null|true|false|nan|inf)$/i.test(value);
  return plain ? value : `'${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}

// As `mlflow run` does: {name} is replaced, what the command does not mention is passed as --name value.
function fill(command: Command, params: Params): Command {
  const used = new Set<string>();
  const fillText = (text: string, quote: (value: string) => string) =>
    text.replaceAll(/\{([\w.-]+)\}/g, (placeholder, name: string) => {
      if (!Object.hasOwn(params, name)) return placeholder;
      used.add(name);
      return quote(templateValue(name, params[name] ?? null));
    });
  const filled =
    typeof command === 'string' ? fillText(command, shellQuote) : command.map((word) => fillText(word, (text) => text));
  const others = Object.fromEntries(Object.entries(params).filter(([name]) => !used.has(name)));
  return append(filled, argumentsOf(others));
}

function templateValue(name: string, value: ParamValue): string {
  if (value !== null) return plainText(value);
  throw new DomainError('invalid-parameters', `The parameter "${name}" has no value; give one with -P ${name}=VALUE.`, [
    { path: name, message: 'has no value' },
  ]);
}

function append(command: Command, words: string[]): Command {
  if (words.length === 0) return command;
  return typeof command === 'string' ? [command.trimEnd(), ...words.map(shellQuote)].join(' ') : [...command, ...words];
}

function plainText(value: ParamValue): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}
