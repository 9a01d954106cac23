// How an entry script takes its parameters, from what it imports and from the files beside it.
import type { ParamsDeclaration } from '#core/project.ts';
import type { Repository } from './repository.ts';

/** Files that exist only to hold parameters. */
const paramsFiles = ['input.json', 'params.json', 'params.yaml', 'params.yml', 'hyperparameters.json'];
/** Files that may hold anything: taken only when the script names them. */
const configFiles = ['config.json', 'config.yaml', 'config.yml', 'hparams.json', 'hparams.yaml', 'parameters.json'];

const importsHydra = /^\s*(?:import hydra\b|from hydra\b|@hydra\.main)/m;
const readsArguments =
  /^\s*(?:import (?:[\w., ]+, *)?|from )(?:argparse|click|fire|typer|absl|tyro|simple_parsing|jsonargparse|docopt|transformers)\b|\bArgumentParser\b|\bsys\.argv\b/m;

/** `script` is the entry script's text, or null when it is not known. */
export function detectParams(repository: Repository, script: string | null): ParamsDeclaration {
  if (script !== null && importsHydra.test(script)) return declaration(null, 'hydra');
  const file =
    paramsFiles.find((name) => repository.files.includes(name)) ??
    configFiles.find((name) => repository.files.includes(name) && script?.includes(name));
  if (file !== undefined) return declaration(file, 'json');
  return declaration(null, script !== null && readsArguments.test(script) ? 'argv' : 'json');
}

/**
 * The flags of a script with their defaults, as argparse and click spell them. Null stands for a default that is missing
 * or computed: the flag is known, and left out until a run gives it.
 */
export function declaredFlags(script: string): Record<string, string | number | boolean | null> {
  const flags: Record<string, string | number | boolean | null> = {};
  for (const [, list = ''] of script.matchAll(/(?:add_argument|click\.option)\(([^()]*(?:\([^()]*\)[^()]*)*)\)/g)) {
    const name = /["']--(\w[\w.-]*)["']/.exec(list)?.[1];
    if (name !== undefined) flags[name] = flagDefault(list.trim());
  }
  return flags;
}

// A bare flag can only switch on; any other boolean takes a value whose spelling is the script's own business.
function flagDefault(list: string): string | number | boolean | null {
  if (/\bstore_true\b|\bis_flag\s*=\s*True\b/.test(list)) return /\bdefault\s*=\s*True\b/.test(list);
  const value = /\bdefault\s*=\s*("[^"\n]*"|'[^'\n]*'|[+-]?[\d.][\d.eE_+-]*)\s*(?:,|$)/.exec(list)?.[1];
  return value === undefined ? null : pythonLiteral(value);
}

function pythonLiteral(text: string): string | number | null {
  if (/^["']/.test(text)) return text.slice(1, -1);
  const number = Number(text.replaceAll('_', ''));
  return Number.isFinite(number) ? number : null;
}

function declaration(file: string | null, style: ParamsDeclaration['style']): ParamsDeclaration {
  return { file, style, defaults: null };
}
