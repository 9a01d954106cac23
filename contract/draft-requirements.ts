// Where a drafted assay.yaml says that packages come from.
import type { Repository } from './repository.ts';

const found = ['uv.lock', 'pylock.toml', 'requirements.txt', 'pyproject.toml', 'setup.py', 'setup.cfg'];
const refused = /^(?:(?:environment|conda|(?:.+\.)?conda-lock)\.ya?ml|Pipfile(?:\.lock)?|pdm\.lock|python_env\.ya?ml)$/;
const python = '# python: "3.11"';

/** A requirements.txt in a folder is named when it is the only one; one at the root is found by itself. */
export function requirementLines({ files }: Repository): string[] {
  const source = found.find((file) => files.includes(file));
  if (source !== undefined) return [`# Packages come from ${source}.`, python, ''];
  const [nested, ...others] = files.filter((file) => /^(?!\.)[^/]+\/requirements\.txt$/.test(file));
  if (nested !== undefined && others.length === 0) return [`requirements: ${JSON.stringify(nested)}`, python, ''];
  const other = files.find((file) => refused.test(file));
  const why =
    other === undefined
      ? 'none was found, so stages get plain Python'
      : `write one: ${other} is not installed from; assay lint names the command`;
  return [`# requirements: requirements.txt    # ${why}`, python, ''];
}
