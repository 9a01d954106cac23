import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DomainError } from '#core/errors.ts';
import { type PythonRequest, readPythonRequest } from '#environment/python/python-request.ts';
import { type LocalPackage, implicitPackage } from './local-packages.ts';
import { poetryRequirements } from './poetry.ts';
import { readPylock } from './pylock.ts';
import { dynamicFiles, type Pyproject, readPyproject, relevantText } from './pyproject.ts';
import { refusedFile } from './refused-files.ts';
import { logicalLines, readRequirementsFile } from './requirements-file.ts';
import { isFile, pathInTree, readText } from './tree.ts';
import { readUvLock } from './uv-lock.ts';

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

/** What one kind of file contributes; everything else has a default. */
type Found = Pick<RequirementSource, 'kind' | 'file'> & { texts: readonly { path: string; text: string }[] } & Partial<
    Pick<
      RequirementSource,
      'indexLines' | 'requirements' | 'archives' | 'archiveFolders' | 'allowsPrereleases' | 'notes'
    >
  > & { explicitPackages?: readonly string[]; requiresPython?: string | null };

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

async function readFirst(root: string, pyproject: Pyproject | undefined): Promise<Found> {
  if (pyproject !== undefined && (await isFile(join(root, 'uv.lock'))))
    return await fromUvLock(root, 'uv.lock', pyproject);
  if (await isFile(join(root, 'pylock.toml'))) return await fromPylock(root, 'pylock.toml');
  if (await isFile(join(root, 'requirements.txt'))) return await fromRequirements(root, 'requirements.txt');
  const packaged = await fromPackage(root, pyproject);
  const refused = packaged === undefined || asksForNothing(packaged, pyproject) ? await refusedFile(root) : undefined;
  if (refused !== undefined) throw refused;
  return packaged ?? { kind: 'none', file: null, texts: [] };
}

async function fromPackage(root: string, pyproject: Pyproject | undefined): Promise<Found | undefined> {
  if (pyproject?.hasProject || pyproject?.usesPoetryOnly) return await fromPyproject(root, pyproject);
  for (const name of ['setup.py', 'setup.cfg']) {
    if (await describesPackage(root, name)) return await fromSetup(root, name);
  }
  return undefined;
}

async function describesPackage(root: string, name: string): Promise<boolean> {
  const text = await readText(join(root, name));
  return text !== undefined && (name === 'setup.py' || /^\[(metadata|options)\]/m.test(text));
}

function asksForNothing(found: Found, pyproject: Pyproject | undefined): boolean {
  return found.kind === 'pyproject' && pyproject?.dependencies?.length === 0;
}

async function readNamed(root: string, name: string, pyproject: Pyproject | undefined): Promise<Found> {
  const path = await pathInTree(root, 'assay.yaml', name);
  if (!(await isFile(join(root, path)))) throw noSuchFile(name);
  const base = path.split('/').at(-1) ?? path;
  if (base === 'uv.lock') return await fromUvLock(root, path, await readPyproject(root, join(path, '..')));
  if (/^pylock(\..+)?\.toml$/.test(base)) return await fromPylock(root, path);
  if (path === 'pyproject.toml' && pyproject !== undefined) return await fromPyproject(root, pyproject);
  if (base === 'setup.py' || base === 'setup.cfg') return await fromSetup(root, path);
  if (/\.(txt|in|pip)$/.test(base)) return await fromRequirements(root, path);
  throw noSuchKind(name);
}

async function fromUvLock(root: string, path: string, pyproject: Pyproject | undefined): Promise<Found> {
  if (pyproject === undefined) throw noSuchFile('pyproject.toml beside uv.lock');
  const text = (await readText(join(root, path))) ?? '';
  const { packages, ...lock } = await readUvLock(root, path, text, pyproject);
  const texts = [
    { path, text },
    { path: 'pyproject.toml', text: relevantText(pyproject) },
  ];
  return { kind: 'uv-lock', file: path, texts, explicitPackages: packages, ...lock };
}

async function fromPylock(root: string, path: string): Promise<Found> {
  const text = (await readText(join(root, path))) ?? '';
  const { packages, ...lock } = await readPylock(root, path, text);
  return { kind: 'pylock', file: path, texts: [{ path, text }], explicitPackages: packages, ...lock };
}

async function fromRequirements(root: string, path: string): Promise<Found> {
  const { files, packages, ...read } = await readRequirementsFile(root, path);
  const archives = [...(await archiveTexts(root, read.archives)), ...(await folderTexts(root, read.archiveFolders))];
  const texts = [...files, ...(await packageTexts(root, packages)), ...archives];
  return { kind: 'requirements', file: path, texts, explicitPackages: packages, ...read };
}

async function fromPyproject(root: string, pyproject: Pyproject): Promise<Found> {
  const texts = await packageTexts(root, ['.']);
  const hasPoetryLock = await isFile(join(root, 'poetry.lock'));
  const notes = hasPoetryLock
    ? ['poetry.lock is not read; `poetry export -o requirements.txt` writes its pins into a file that is.']
    : [];
  const requirements = pyproject.usesPoetryOnly ? poetryRequirements(pyproject) : null;
  const explicitPackages = pyproject.hasBuildSystem && (await implicitPackage(root, pyproject)) ? ['.'] : [];
  return { kind: 'pyproject', file: 'pyproject.toml', texts, requirements, notes, explicitPackages };
}

async function fromSetup(root: string, path: string): Promise<Found> {
  const folder = join(path, '..');
  return { kind: 'setup-py', file: path, texts: await packageTexts(root, [folder]), explicitPackages: [folder] };
}

/** The parts of package definitions that decide what they depend on. */
async function packageTexts(root: string, directories: readonly string[]): Promise<{ path: string; text: string }[]> {
  const found = [];
  for (const directory of directories) {
    const pyproject = await readPyproject(root, directory);
    if (pyproject !== undefined) found.push({ path: join(directory, 'pyproject.toml'), text: relevantText(pyproject) });
    const isStatic = pyproject?.hasProject && !pyproject.isDynamic;
    const others = isStatic || pyproject?.usesPoetryOnly ? [] : setupFiles(pyproject);
    for (const name of others) {
      const text = await readText(join(root, directory, name));
      if (text !== undefined) found.push({ path: join(directory, name), text: logicalLines(text).join('\n') });
    }
  }
  return found;
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

/** A setup.py commonly reads its requirements from a file beside it. */
function setupFiles(pyproject: Pyproject | undefined): string[] {
  const named = pyproject === undefined ? [] : dynamicFiles(pyproject);
  return [...new Set(['setup.py', 'setup.cfg', 'requirements.txt', ...named])];
}

async function archiveTexts(root: string, archives: readonly string[]): Promise<{ path: string; text: string }[]> {
  return await Promise.all(
    archives.map(async (path) => ({ path, text: (await readFile(join(root, path))).toString('latin1') })),
  );
}

/** What a folder of archives offers: its names, which hold the versions. */
async function folderTexts(root: string, folders: readonly string[]): Promise<{ path: string; text: string }[]> {
  return await Promise.all(
    folders.map(async (path) => ({ path, text: (await readdir(join(root, path))).sort().join('\n') })),
  );
}

async function localPackages(root: string, found: Found, pyproject: Pyproject | undefined): Promise<LocalPackage[]> {
  const explicit = (found.explicitPackages ?? []).map((directory) => ({ directory, isExplicit: true }));
  if (found.kind === 'uv-lock' || explicit.some(({ directory }) => directory === '.')) return explicit;
  return (await implicitPackage(root, pyproject)) ? [{ directory: '.', isExplicit: false }, ...explicit] : explicit;
}

function noSuchFile(name: string): DomainError {
  return new DomainError(
    'environment-unresolvable',
    `There is no file ${name} in this commit. Commit it, or correct \`requirements:\` in assay.yaml.`,
    [{ path: 'requirements', message: `no file ${name}`, file: 'assay.yaml' }],
  );
}

function noSuchKind(name: string): DomainError {
  return new DomainError(
    'environment-unsupported',
    `\`requirements: ${name}\` is not a kind of file that Assay installs from. Expected uv.lock, pylock.toml, a .txt file, pyproject.toml or setup.py.`,
    [{ path: 'requirements', message: 'unknown kind of file', file: 'assay.yaml' }],
  );
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
