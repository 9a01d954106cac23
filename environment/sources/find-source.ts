import { createHash } from 'node:crypto';
import { type PythonRequest, readPythonRequest } from '#environment/python/python-request.ts';
import { implicitPackage, type LocalPackage } from './local-packages.ts';
import { type Pyproject, readPyproject } from './pyproject.ts';
import { type Found, readFirst, readNamed } from './source-kinds.ts';

type SourceKind = 'uv-lock' | 'pylock' | 'requirements' | 'pyproject' | 'setup-py' | 'none';

/** What a commit says about its environment. Contents are read; nothing of the repository is executed. */
export interface RequirementSource {
  kind: SourceKind;
  /** The file to resolve from, relative to the tree; null for `none`. */
  file: string | null;
  /** Every file that was read, by the sha256 of its text that matters. */
  files: readonly { path: string; sha256: string }[];
  /** Equal digest, equal question to the resolver. Comments and unrelated tables do not change it. */
  digest: string;
  python: PythonRequest;
  /** Directories that are packages, installed without dependencies from the stage's own copy. */
  packages: readonly LocalPackage[];
  isPackage: boolean;
  /** Index options that hold when resolving and when installing. */
  indexLines: readonly string[];
  /** Requirement lines made from another notation; they replace the file when resolving. */
  requirements: readonly string[] | null;
  /** Wheels and source archives of the tree, and folders of them. */
  archives: readonly string[];
  archiveFolders: readonly string[];
  allowsPrereleases: boolean;
  /** True when only running the package's build tells what it depends on. */
  runsBuild: boolean;
  notes: readonly string[];
}

export interface SourceChoice {
  /** `requirements:` of the project file; wins over what is found. */
  requirements?: string | null | undefined;
  /** `python:` of the project file. */
  python?: string | null | undefined;
}

/**
 * Finds the requirement source of a checkout.
 *
 * @throws DomainError environment-unsupported (conda, Pipenv, paths outside of the tree) or
 * environment-unresolvable (missing, circular, malformed or outdated files).
 */
export async function findSource(root: string, choice: SourceChoice = {}): Promise<RequirementSource> {
  const pyproject = await readPyproject(root);
  const found = await (choice.requirements
    ? readNamed(root, choice.requirements, pyproject)
    : readFirst(root, pyproject));
  const python = await readPythonRequest(root, choice.python, pyproject, found.requiresPython ?? null);
  const packages = await localPackages(root, found, pyproject);
  const files = found.texts.map(({ path, text }) => ({ path, sha256: sha256(text) }));
  return {
    kind: found.kind,
    file: found.file,
    files,
    digest: sha256(JSON.stringify([found.kind, files.map(({ path, sha256 }) => [path, sha256])])),
    python,
    packages,
    isPackage: packages.some(({ directory }) => directory === '.'),
    indexLines: found.indexLines ?? [],
    requirements: found.requirements ?? null,
    archives: found.archives ?? [],
    archiveFolders: found.archiveFolders ?? [],
    allowsPrereleases: found.allowsPrereleases ?? false,
    runsBuild: found.kind !== 'uv-lock' && (await needsBuild(root, packages, found.kind, pyproject)),
    notes: found.notes ?? [],
  };
}

async function needsBuild(
  root: string,
  packages: readonly LocalPackage[],
  kind: SourceKind,
  pyproject: Pyproject | undefined,
): Promise<boolean> {
  if (kind === 'setup-py' || (kind === 'pyproject' && pyproject?.isDynamic)) return true;
  const named = packages.filter(({ isExplicit }) => isExplicit);
  const found = await Promise.all(named.map(({ directory }) => readPyproject(root, directory)));
  return found.some((one) => !one?.hasProject || one.isDynamic);
}

async function localPackages(root: string, found: Found, pyproject: Pyproject | undefined): Promise<LocalPackage[]> {
  const explicit = (found.explicitPackages ?? []).map((directory) => ({ directory, isExplicit: true }));
  if (found.kind === 'uv-lock' || explicit.some(({ directory }) => directory === '.')) return explicit;
  return (await implicitPackage(root, pyproject)) ? [{ directory: '.', isExplicit: false }, ...explicit] : explicit;
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
