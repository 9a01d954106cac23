// pylock.toml (PEP 751) as locked requirement lines. It is complete and hashed, so nothing is resolved.
import type { TomlTable } from 'smol-toml';
import { DomainError } from '#core/errors.ts';
import { isTable, parseToml, stringAt, tableAt, tablesAt } from './pyproject.ts';
import { pathInTree } from './tree.ts';
import { registryLines } from './uv-lock.ts';

export interface Pylock {
  requiresPython: string | null;
  packages: readonly string[];
  indexLines: readonly string[];
  /** Requirement lines, each with its hashes, except those of git commits. */
  requirements: readonly string[];
}

/** @throws DomainError environment-unresolvable for an entry without a hash, environment-unsupported for extras. */
export async function readPylock(root: string, path: string, text: string): Promise<Pylock> {
  const lock = parseToml(text, path);
  const entries = tablesAt(lock, 'packages');
  const local = entries.flatMap((entry) => stringAt(tableAt(entry, 'directory'), 'path') ?? []);
  return {
    requiresPython: stringAt(lock, 'requires-python'),
    packages: await Promise.all(local.map((directory) => pathInTree(root, path, directory))),
    indexLines: registryLines(entries.flatMap((entry) => stringAt(entry, 'index') ?? [])),
    requirements: entries.filter((entry) => !isTable(entry.directory)).map((entry) => requirement(path, entry)),
  };
}

function requirement(path: string, entry: TomlTable): string {
  const name = stringAt(entry, 'name') ?? '';
  const marker = markerText(path, name, stringAt(entry, 'marker'));
  if (isTable(entry.vcs)) return `${name} @ ${commitAddress(path, name, entry.vcs)}${marker}`;
  const archive = tableAt(entry, 'archive');
  const address = stringAt(archive, 'url');
  const target = address === null ? `${name}==${stringAt(entry, 'version') ?? ''}` : `${name} @ ${address}`;
  const hashes = [archive, tableAt(entry, 'sdist'), ...tablesAt(entry, 'wheels')].flatMap(
    (file) => stringAt(tableAt(file, 'hashes'), 'sha256') ?? [],
  );
  if (hashes.length === 0) throw refusal(path, name, 'has no sha256 hash. Write the lock again with hashes');
  return `${target}${marker}${hashes.map((hash) => ` --hash=sha256:${hash}`).join('')}`;
}

function markerText(path: string, name: string, marker: string | null): string {
  if (marker === null) return '';
  if (!/\b(extras|dependency_groups)\b/.test(marker)) return ` ; ${marker}`;
  throw new DomainError(
    'environment-unsupported',
    `${path}: ${name} is wanted only by an extra or a group (${marker}), which Assay cannot choose. Export a lock that holds exactly what the code needs.`,
    [{ path: name, message: marker, file: path }],
  );
}

function commitAddress(path: string, name: string, vcs: TomlTable): string {
  const commit = stringAt(vcs, 'commit-id');
  const address = stringAt(vcs, 'url');
  if (stringAt(vcs, 'type') !== 'git' || commit === null || address === null) {
    throw refusal(path, name, 'is not a commit of a git repository with an address. Lock it by url and commit-id');
  }
  const subdirectory = stringAt(vcs, 'subdirectory');
  return `git+${address}@${commit}${subdirectory === null ? '' : `#subdirectory=${subdirectory}`}`;
}

function refusal(path: string, name: string, what: string): DomainError {
  return new DomainError('environment-unresolvable', `${path}: ${name} ${what}.`, [
    { path: name, message: what, file: path },
  ]);
}
