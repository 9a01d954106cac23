import { cp, readdir, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { runInstalling } from '#environment/process/builder.ts';
import type { LineListener } from '#environment/process/command.ts';
import { withWorkDirectory } from '#environment/process/work-directory.ts';
import { type Interpreter, type Platform, platformName } from '#environment/python/interpreters.ts';
import type { RequirementSource } from '#environment/sources/find-source.ts';
import { isFile, readText } from '#environment/sources/tree.ts';
import { normalName, requirementName } from '#environment/sources/uv-lock.ts';
import {
  type BuiltWheel,
  buildGitWheel,
  fileSha256,
  keepArchive,
  keepWheel,
  parseGitRequirement,
  type WheelBuilding,
  wheelEntry,
} from '#environment/uv/built-wheels.ts';
import { namesGit, withBuiltWheels } from '#environment/uv/git-requirements.ts';
import { installingUv } from '#environment/uv/install-uv.ts';
import { requirementLines, uvFailure } from '#environment/uv/uv-failure.ts';
import type { EnvironmentContext } from './context.ts';
import { freeze } from './freeze.ts';
import { createLock, isOption, type Lock, type LockEntry, type LockedWheel, parseEntries, parseEntry } from './lock.ts';

export interface ResolveRequest {
  /** The checkout that the source was found in. */
  root: string;
  source: RequirementSource;
  interpreter: Interpreter;
  /** Where the environment will be used; default: where the interpreter runs. */
  platform?: Platform;
  onLine?: LineListener | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * Turns a requirement source into a lock with a hash for every package.
 *
 * @throws DomainError environment-unresolvable with one sentence that names the requirement and the reason.
 */
export async function resolve(context: EnvironmentContext, request: ResolveRequest): Promise<Lock> {
  const { source } = request;
  if (source.kind === 'none') return await freeze(request.interpreter);
  context.counters.resolves += 1;
  const entries =
    source.kind === 'pylock' ? (source.requirements ?? []).map(parseEntry) : await askUv(context, request);
  const options = entries.filter(isOption).map(({ requirement }) => requirement);
  const packages = entries.filter((entry) => !isOption(entry) && !isLocalPackage(entry));
  const built: BuiltWheel[] = [];
  const pinned: LockEntry[] = [];
  for (const entry of packages) {
    const wheel = await wheelOf(context, request, entry);
    if (wheel !== undefined) built.push(wheel);
    pinned.push(wheel?.entry ?? entry);
  }
  const fromFolders = await wheelsOfFolders(context, request, pinned);
  return createLock(pinned, [...source.indexLines, ...options], [...built.map(({ wheel }) => wheel), ...fromFolders]);
}

async function askUv(context: EnvironmentContext, request: ResolveRequest): Promise<LockEntry[]> {
  return await withWorkDirectory(context.cacheDir, async (work) => {
    const uv = await installingUv(context, request.onLine);
    const isLocked = request.source.kind === 'uv-lock';
    const args = isLocked ? exportArguments(request) : await compileArguments(context, request, work);
    const { onLine, signal } = request;
    const cwd = await treeToRead(context, request, work);
    const result = await runInstalling(context, work, uv.path, args, {
      cwd,
      onLine,
      signal,
      reads: [request.root],
    });
    if (result.exitCode !== 0) throw await failure(request, result.stderr);
    return parseEntries(result.stdout);
  });
}

/** The checkout itself, or a copy where something is written into it. */
async function treeToRead(context: EnvironmentContext, request: ResolveRequest, work: string): Promise<string> {
  const { root, source } = request;
  const files = source.kind === 'uv-lock' ? [] : await filesThatNameGit(context, request);
  if (!source.runsBuild && files.length === 0) return root;
  const copy = await copyTree(root, work);
  for (const path of files) {
    const text = (await readText(join(root, path))) ?? '';
    await writeFile(join(copy, path), await withBuiltWheels(buildingOf(context, request), text));
  }
  return copy;
}

/** Where the resolver runs in a container, which may have no git. */
async function filesThatNameGit({ base }: EnvironmentContext, { root, source }: ResolveRequest): Promise<string[]> {
  const paths = base === null ? [] : source.files.map(({ path }) => path);
  const texts = await Promise.all(paths.map((path) => readText(join(root, path))));
  return paths.filter((_, index) => namesGit(texts[index] ?? ''));
}

function buildingOf(context: EnvironmentContext, { interpreter, onLine, signal }: ResolveRequest): WheelBuilding {
  return { context, interpreter, onLine, signal };
}

/** Build backends write beside the sources, and the checkout stays as it is. */
async function copyTree(root: string, work: string): Promise<string> {
  const copy = join(work, 'tree');
  const isCopied = (path: string): boolean => !/^(\.git|\.venv|node_modules)$/.test(basename(path));
  await cp(root, copy, { recursive: true, filter: isCopied });
  return copy;
}

/** The project's default groups are included, as `uv sync` and `uv run` have them. */
function exportArguments({ source, interpreter }: ResolveRequest): string[] {
  const folder = join(source.file ?? '', '..');
  const output = ['--format', 'requirements.txt', '--no-header', '--no-annotate', '--no-emit-project'];
  return [
    'export',
    '--frozen',
    '--directory',
    folder,
    ...output,
    '--python',
    interpreter.path,
    '--no-python-downloads',
  ];
}

async function compileArguments(context: EnvironmentContext, request: ResolveRequest, work: string): Promise<string[]> {
  const { source, interpreter, platform = interpreter.platform } = request;
  const isForeign = platformName(platform) !== platformName(interpreter.platform);
  return [
    'pip',
    'compile',
    '--generate-hashes',
    '--no-header',
    '--no-annotate',
    '--emit-build-options',
    // pip asks all indexes alike, and requirement files are written for that.
    '--index-strategy=unsafe-best-match',
    `--python=${interpreter.path}`,
    '--no-python-downloads',
    ...(isForeign ? ['--python-platform', uvPlatform(platform)] : []),
    ...(source.allowsPrereleases ? ['--prerelease', 'allow'] : []),
    ...context.indexArguments,
    await inputFile(context, request, work),
  ];
}

async function inputFile(context: EnvironmentContext, request: ResolveRequest, work: string): Promise<string> {
  const { root, source } = request;
  if (source.requirements === null) return source.file ?? '';
  // Such lines may hold paths relative to the tree, but their file is outside of it.
  const lines = source.requirements.map((line) => (line.startsWith('./') ? join(root, line) : line));
  const path = join(work, 'requirements.txt');
  const text = `${lines.join('\n')}\n`;
  await writeFile(path, context.base === null ? text : await withBuiltWheels(buildingOf(context, request), text));
  return path;
}

/** The name that uv gives to a platform. */
function uvPlatform({ os, arch, libc }: Platform): string {
  if (os === 'darwin') return `${arch}-apple-darwin`;
  const glibc = /^glibc 2\.(\d+)/.exec(libc)?.[1];
  if (glibc === undefined) return `${arch}-unknown-linux-musl`;
  const newestKnown = 40;
  return `${arch}-manylinux_2_${Math.min(Number(glibc), newestKnown)}`;
}

/** Directories are the stage's own code: they are installed from its copy and never locked. */
function isLocalPackage({ requirement, hashes }: LockEntry): boolean {
  if (requirement.startsWith('-e ')) return true;
  const isPath = /^[./]/.test(requirement) || /^\S+ @ (file:|[./])/.test(requirement);
  return isPath && hashes.length === 0 && localArchive('/', requirement) === undefined;
}

async function wheelOf(
  context: EnvironmentContext,
  request: ResolveRequest,
  entry: LockEntry,
): Promise<BuiltWheel | undefined> {
  const building = buildingOf(context, request);
  const git = parseGitRequirement(entry.requirement);
  if (git !== undefined) return await buildGitWheel(building, git);
  const archive = localArchive(request.root, entry.requirement);
  if (archive === undefined) return undefined;
  const wheel = await keepArchive(building, archive);
  return { wheel, entry: wheelEntry(wheel) };
}

/** The file in `./wheels/x.whl` or `x @ file:///tree/wheels/x.whl`. */
function localArchive(root: string, requirement: string): string | undefined {
  const target = requirement
    .replace(/^\S+ @ /, '')
    .replace(/^file:\/\//, '')
    .replace(/\s*;.*$/, '');
  if (/^[a-z+]+:/i.test(target) || !/\.(whl|tar\.gz|tgz|zip)$/i.test(target)) return undefined;
  return target.startsWith('/') ? target : join(root, target);
}

/** A wheel that was found in a folder of the tree has to travel: no other machine has that folder. */
async function wheelsOfFolders(
  context: EnvironmentContext,
  request: ResolveRequest,
  entries: readonly LockEntry[],
): Promise<LockedWheel[]> {
  const hashes = new Set(entries.flatMap((entry) => entry.hashes));
  const names = new Set(entries.map(({ requirement }) => requirementName(requirement)));
  const kept: LockedWheel[] = [];
  for (const folder of request.source.archiveFolders) {
    for (const name of await readdir(join(request.root, folder))) {
      const path = join(request.root, folder, name);
      const isWanted = name.endsWith('.whl') && names.has(normalName(name.split('-')[0] ?? '')) && (await isFile(path));
      if (isWanted && hashes.has(`sha256:${await fileSha256(path)}`)) kept.push(await keepWheel(context, path));
    }
  }
  return kept;
}

async function failure({ root, source }: ResolveRequest, stderr: string): Promise<Error> {
  const texts = await Promise.all(source.files.map(({ path }) => readText(join(root, path))));
  const lines = source.requirements ?? texts.flatMap((text) => requirementLines(text ?? ''));
  return uvFailure(source.file ?? '', stderr, lines);
}
