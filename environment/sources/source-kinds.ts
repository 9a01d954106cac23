// One reader per kind of requirement source, and the order in which they are looked for.
import { join } from 'node:path';
import { DomainError } from '#core/errors.ts';
import type { RequirementSource } from './find-source.ts';
import { implicitPackage } from './local-packages.ts';
import { poetryRequirements } from './poetry.ts';
import { readPylock } from './pylock.ts';
import { type Pyproject, readPyproject, relevantText } from './pyproject.ts';
import { refusedFile } from './refused-files.ts';
import { archiveTexts, folderTexts, packageTexts, type RelevantText } from './relevant-texts.ts';
import { readRequirementsFile } from './requirements-file.ts';
import { isFile, pathInTree, readText } from './tree.ts';
import { readUvLock } from './uv-lock.ts';

/** What one kind of file contributes; everything else has a default. */
export type Found = Pick<RequirementSource, 'kind' | 'file'> & { texts: readonly RelevantText[] } & Partial<
    Pick<
      RequirementSource,
      'indexLines' | 'requirements' | 'archives' | 'archiveFolders' | 'allowsPrereleases' | 'notes'
    >
  > & { explicitPackages?: readonly string[]; requiresPython?: string | null };

/** The first that is there. */
export async function readFirst(root: string, pyproject: Pyproject | undefined): Promise<Found> {
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

/** The file that `requirements:` of the project file names. */
export async function readNamed(root: string, name: string, pyproject: Pyproject | undefined): Promise<Found> {
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
