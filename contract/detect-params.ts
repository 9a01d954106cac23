// How an entry script takes its parameters, from what it imports and from the files beside it.
import type { ParamsDeclaration } from '#core/project.ts';
import type { Repository } from './repository.ts';

/** Files that exist only to hold parameters. */
const paramsFiles = ['input.json', 'params.json', 'params.yaml', 'params.yml', 'hyperparameters.json'];
/** Files that may hold anything: taken only when the script names them. */
const configFiles = ['config.json', 'config.yaml', 'config.yml', 'hparams.json', 'hparams.yaml', 'parameters.json'];

const importsHydra = /^\s*(?:import hydra\b|from hydra\b|@hydra\.main)/m;
const readsArguments =
  /^\s*(?:import|from) (?:argparse|click|fire|typer|absl|tyro|simple_parsing|jsonargparse|docopt|transformers)\b|\bArgumentParser\b|\bsys\.argv\b/m;

/** `script` is the entry script's text, or null when it is not known. */
export function detectParams(repository: Repository, script: string | null): ParamsDeclaration {
  if (script !== null && importsHydra.test(script)) return declaration(null, 'hydra');
  const file =
    paramsFiles.find((name) => repository.files.includes(name)) ??
    configFiles.find((name) => repository.files.includes(name) && script?.includes(name));
  if (file !== undefined) return declaration(file, 'json');
  return declaration(null, script !== null && readsArguments.test(script) ? 'argv' : 'json');
}

/** Flags with plain defaults, as argparse and click spell them; what is computed stays unknown. */
export function declaredFlags(script: string): Record<string, string | number | boolean> {
  const flags: Record<string, string | number | boolean> = {};
  for (const [, list = ''] of script.matchAll(/(?:add_argument|click\.option)\(([^()]*(?:\([^()]*\)[^()]*)*)\)/g)) {
    const name = /["']--([\w][\w.-]*)["']/.exec(list)?.[1];
    const value = /\bdefault\s*=\s*("[^"\n]*"|'[^'\n]*'|[+-]?[\d.][\d.eE_+-]*|True|False)\s*(?:,|$)/.exec(
      list.trim(),
    )?.[1];
    const literal = value === undefined ? null : pythonLiteral(value);
    if (name !== undefined && literal !== null) flags[name] = literal;
  }
  return flags;
}

function pythonLiteral(text: string): string | number | boolean | null {
  if (/^["']/.test(text)) return text.slice(1, -1);
  if (text === 'True' || text === 'False') return text === 'True';
  const number = Number(text.replaceAll('_', ''));
  return Number.isFinite(number) ? number : null;
}

function declaration(file: string | null, style: ParamsDeclaration['style']): ParamsDeclaration {
  return { file, style, defaults: null };
}
