import { readdir } from 'node:fs/promises';
import { DomainError } from '#core/errors.ts';

interface Refusal {
  pattern: RegExp;
  what: string;
  /** The command that writes a requirements.txt from such a file. */
  convert: (file: string) => string;
}

const refusals: readonly Refusal[] = [
  {
    pattern: /^(environment|conda)\.ya?ml$/,
    what: 'a conda environment',
    convert: (file) =>
      `conda env create -n to-pip -f ${file} && conda run -n to-pip python -m pip list --format=freeze > requirements.txt`,
  },
  {
    pattern: /^(.+\.)?conda-lock\.ya?ml$/,
    what: 'a conda lock',
    convert: (file) =>
      `conda-lock install -n to-pip ${file} && conda run -n to-pip python -m pip list --format=freeze > requirements.txt`,
  },
  { pattern: /^Pipfile\.lock$/, what: 'a Pipenv lock', convert: () => 'pipenv requirements > requirements.txt' },
  {
    pattern: /^Pipfile$/,
    what: 'a Pipenv file',
    convert: () => 'pipenv lock && pipenv requirements > requirements.txt',
  },
  { pattern: /^pdm\.lock$/, what: 'a PDM lock', convert: () => 'pdm export -f requirements -o requirements.txt' },
  {
    pattern: /^python_env\.ya?ml$/,
    what: 'an MLflow environment',
    convert: () => "sed -n 's/^ *- *//p' python_env.yaml > requirements.txt",
  },
];

/** The first file of a kind that Assay does not install from, as a refusal with the command that converts it. */
export async function refusedFile(root: string): Promise<DomainError | undefined> {
  return refusedAmong(await readdir(root));
}

const installable = /^(pylock\.toml|requirements\.txt|pyproject\.toml|setup\.(py|cfg))$/;

/** The same before anything is there but the names, where no other file can still be the one to install from. */
export function refusedByName(names: readonly string[]): DomainError | undefined {
  return names.some((name) => installable.test(name)) ? undefined : refusedAmong(names);
}

function refusedAmong(given: readonly string[]): DomainError | undefined {
  const names = [...given].sort();
  for (const { pattern, what, convert } of refusals) {
    const file = names.find((name) => pattern.test(name));
    if (file !== undefined) return refusal(file, what, convert(file));
  }
  return undefined;
}

function refusal(file: string, what: string, command: string): DomainError {
  return new DomainError(
    'environment-unsupported',
    `${file} is ${what}, which Assay does not install from; it expects uv.lock, pylock.toml, requirements.txt, pyproject.toml or setup.py. Convert it with \`${command}\` and commit the result.`,
    [{ path: file, message: `found ${what}; expected a file that pip reads. Convert it with: ${command}`, file }],
  );
}
