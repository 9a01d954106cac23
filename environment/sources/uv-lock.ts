import type { TomlTable } from 'smol-toml';
import { DomainError } from '#core/errors.ts';
import { parseToml, type Pyproject, stringAt, tableAt, tablesAt } from './pyproject.ts';
import { pathInTree } from './tree.ts';

export interface UvLock {
  requiresPython: string | null;
  /** Directories of the tree that are installed from the stage's own copy. */
  packages: readonly string[];
  /** `--index-url` and `--extra-index-url` lines; none when everything comes from the default index. */
  indexLines: readonly string[];
}

/** @throws DomainError when the lock lacks a dependency of pyproject.toml, or names a path outside of the tree. */
export async function readUvLock(root: string, path: string, text: string, pyproject: Pyproject): Promise<UvLock> {
  const lock = parseToml(text, path);
  const packages = tablesAt(lock, 'package');
  refuseStale(path, packages, pyproject);
  const sources = packages.map((entry) => tableAt(entry, 'source'));
  const local = sources.flatMap((source) => stringAt(source, 'editable') ?? stringAt(source, 'directory') ?? []);
  const directories = await Promise.all(local.map((directory) => pathInTree(root, path, directory)));
  return {
    requiresPython: stringAt(lock, 'requires-python'),
    packages: [...new Set(directories)],
    indexLines: registryLines(sources.flatMap((source) => stringAt(source, 'registry') ?? [])),
  };
}

const publicIndex = /^https:\/\/pypi\.org\/simple\/?$/;

/** The public index is whatever this installation uses by default; every other one is written into the lock. */
export function registryLines(registries: readonly string[]): string[] {
  const others = [...new Set(registries)].filter((address) => /^https?:/.test(address) && !publicIndex.test(address));
  return others.sort().map((address) => `--extra-index-url ${address.replace(/(https?:\/\/)[^/@]+@/, '$1')}`);
}

/** A dependency added without `uv lock` would only be missed when the code imports it. */
function refuseStale(path: string, packages: readonly TomlTable[], pyproject: Pyproject): void {
  const own = packages.find(
    ({ name }) => typeof name === 'string' && normalName(name) === normalName(pyproject.name ?? ''),
  );
  if (own === undefined || pyproject.dependencies === null) return;
  const locked = new Set(
    tablesAt(tableAt(own, 'metadata'), 'requires-dist').map((entry) => stringAt(entry, 'name') ?? ''),
  );
  const asked = pyproject.dependencies.map(requirementName);
  const lacking = asked.filter((name) => ![...locked].some((known) => normalName(known) === name));
  if (lacking.length === 0) return;
  throw new DomainError(
    'environment-unresolvable',
    `${path} is older than pyproject.toml: it lacks ${lacking.join(', ')}. Run \`uv lock\` and commit it.`,
    lacking.map((name) => ({ path: name, message: `not in ${path}`, file: path })),
  );
}

/** The normalised name at the start of a requirement. */
export function requirementName(requirement: string): string {
  return normalName(/^[A-Za-z0-9][\w.-]*/.exec(requirement.trim())?.[0] ?? '');
}

/** Names that differ in case, dots, dashes and underscores alone are one (PEP 503). */
export function normalName(name: string): string {
  return name.replaceAll(/[-_.]+/g, '-').toLowerCase();
}
