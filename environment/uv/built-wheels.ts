// Wheels that no index has. A git commit is built once; its wheel is kept by digest and travels with the lock.
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { copyFile, lstat, mkdir, mkdtemp, readdir, rename, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { DomainError } from '#core/errors.ts';
import { type EnvironmentContext, inImage, locksDir, wheelsDir } from '#environment/context.ts';
import type { LockEntry, LockedWheel } from '#environment/lock.ts';
import { runInstalling } from '#environment/process/builder.ts';
import type { CommandResult, LineListener } from '#environment/process/command.ts';
import { withFileLock } from '#environment/process/single-flight.ts';
import { withWorkDirectory } from '#environment/process/work-directory.ts';
import { type Interpreter, platformName } from '#environment/python/interpreters.ts';
import { isFile, readText } from '#environment/sources/tree.ts';
import { installingUv } from './install-uv.ts';
import { uvFailure } from './uv-failure.ts';

export interface WheelBuilding {
  context: EnvironmentContext;
  interpreter: Interpreter;
  onLine?: LineListener | undefined;
  signal?: AbortSignal | undefined;
}

/** A kept wheel with the requirement that installs it. */
export interface BuiltWheel {
  wheel: LockedWheel;
  entry: LockEntry;
}

/** Where a wheel of a lock lies on this machine, or is to be brought to. */
export function wheelPath(context: EnvironmentContext, wheel: LockedWheel): string {
  return join(wheelsDir(context.cacheDir), wheel.sha256, wheel.filename);
}

interface GitRequirement {
  address: string;
  commit: string;
  subdirectory: string;
  marker: string;
}

/** Undefined for a requirement that is not a git commit. */
export function parseGitRequirement(requirement: string): GitRequirement | undefined {
  const found = /^\S+ @ git\+(\S+?)@([0-9a-f]{40})(?:#(\S+))?(\s*;.*)?$/.exec(requirement);
  if (found === null) return undefined;
  const subdirectory = new URLSearchParams(found[3] ?? '').get('subdirectory') ?? '.';
  return { address: found[1] ?? '', commit: found[2] ?? '', subdirectory, marker: (found[4] ?? '').trim() };
}

/**
 * Builds the wheel of a git commit, or finds the one built before for the same commit, Python and platform.
 *
 * @throws DomainError environment-unresolvable when it cannot be fetched as written, or does not build.
 */
export async function buildGitWheel(building: WheelBuilding, git: GitRequirement): Promise<BuiltWheel> {
  const { context, interpreter } = building;
  const where = [interpreter.version, platformName(interpreter.platform), ...baseOf(context)];
  const name = [git.address, git.commit, git.subdirectory, ...where];
  const id = createHash('sha256').update(JSON.stringify(name)).digest('hex');
  const wheel = await once(context, 'git', id, () => build(building, git));
  return { wheel, entry: wheelEntry(wheel, git.marker) };
}

/** A wheel that was built under this name before and is still here, else what `make` gives, which may be null. */
export async function once<W extends LockedWheel | null>(
  context: EnvironmentContext,
  folder: string,
  id: string,
  make: () => Promise<W>,
): Promise<LockedWheel | W> {
  const record = join(wheelsDir(context.cacheDir), folder, `${id}.json`);
  return await withFileLock(join(locksDir(context.cacheDir), `${folder}-${id}`), async () => {
    const known = await readRecord(context, record);
    if (known !== undefined) return known;
    const wheel = await make();
    if (wheel !== null) await writeRecord(record, wheel);
    return wheel;
  });
}

/** What is compiled in an image may need its libraries. */
export function baseOf({ base }: Pick<EnvironmentContext, 'base'>): string[] {
  return base === null ? [] : [base.digest];
}

async function readRecord(context: EnvironmentContext, record: string): Promise<LockedWheel | undefined> {
  const text = await readText(record);
  if (text === undefined) return undefined;
  const wheel = JSON.parse(text) as LockedWheel;
  return (await isFile(wheelPath(context, wheel))) ? wheel : undefined;
}

async function writeRecord(record: string, wheel: LockedWheel): Promise<void> {
  await mkdir(join(record, '..'), { recursive: true });
  await writeFile(`${record}.new`, JSON.stringify(wheel));
  await rename(`${record}.new`, record);
}

async function build(building: WheelBuilding, git: GitRequirement): Promise<LockedWheel> {
  return await withWorkDirectory(building.context.cacheDir, async (work) => {
    const tree = join(work, 'tree');
    await fetchCommit(building, git, tree);
    return await buildWheel(building, join(tree, git.subdirectory), work);
  });
}

async function fetchCommit(building: WheelBuilding, git: GitRequirement, tree: string): Promise<void> {
  const safe = ['-c', 'core.hooksPath=/dev/null', '-c', 'advice.detachedHead=false'];
  const commands = [
    ['clone', '--quiet', '--no-checkout', '--', git.address, tree],
    ['-C', tree, 'checkout', '--quiet', git.commit],
    ['-C', tree, 'submodule', 'update', '--quiet', '--init', '--recursive'],
  ];
  for (const command of commands) {
    // Fetching runs no code of the package, and an image need not have git.
    const here = { ...building, context: inImage(building.context, null) };
    const result = await run(here, dirname(tree), 'git', [...safe, ...command]);
    if (result.exitCode !== 0) throw gitFailure(git, result.stderr);
  }
}

function gitFailure(git: GitRequirement, stderr: string): Error {
  const said = stderr.trim().split('\n').at(-1) ?? '';
  const isPermanent =
    /not allowed|not found|does not exist|could not read Username|Authentication failed|not a tree|Permission denied/i;
  if (!isPermanent.test(stderr)) return new Error(`git could not fetch ${git.address}: ${said}`);
  return new DomainError(
    'environment-unresolvable',
    `The git requirement ${git.address} at ${git.commit} cannot be fetched: ${said}. Check the address and the access of this machine.`,
    [{ path: git.address, message: said }],
  );
}

/** Builds the wheel of a directory or of a source archive, using `work` for what is in between, and keeps it. */
export async function buildWheel(
  building: WheelBuilding,
  source: string,
  work: string,
  options: readonly string[] = [],
): Promise<LockedWheel> {
  building.context.counters.wheelBuilds += 1;
  const uv = await installingUv(building.context, building.onLine);
  const out = await mkdtemp(join(work, 'out-'));
  const python = ['--python', building.interpreter.path, '--no-python-downloads'];
  const args = [
    'build',
    '--wheel',
    ...python,
    ...building.context.indexArguments,
    ...options,
    '--out-dir',
    out,
    source,
  ];
  const result = await run(building, work, uv.path, args);
  if (result.exitCode !== 0) throw uvFailure(basename(source), result.stderr);
  const filename = (await readdir(out)).find((name) => name.endsWith('.whl'));
  if (filename === undefined || !(await lstat(join(out, filename))).isFile()) {
    throw new Error(`uv built ${source} without leaving a wheel`);
  }
  return await keepWheel(building.context, join(out, filename));
}

/** A wheel or source archive of the tree as a kept wheel. */
export async function keepArchive(building: WheelBuilding, path: string): Promise<LockedWheel> {
  if (path.endsWith('.whl')) return await keepWheel(building.context, path);
  return await withWorkDirectory(building.context.cacheDir, async (work) => {
    const copy = join(work, basename(path));
    await copyFile(path, copy);
    return await buildWheel(building, copy, work);
  });
}

/** Copies a wheel to its place by digest. */
export async function keepWheel(context: EnvironmentContext, path: string): Promise<LockedWheel> {
  const wheel = { filename: basename(path), sha256: await fileSha256(path) };
  const target = wheelPath(context, wheel);
  if (await isFile(target)) return wheel;
  await mkdir(join(target, '..'), { recursive: true });
  const partial = `${target}.${process.pid}.partial`;
  await copyFile(path, partial);
  await rename(partial, target);
  return wheel;
}

export async function fileSha256(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}

/** @throws DomainError environment-unresolvable for a file name that says neither name nor version. */
export function wheelEntry(wheel: LockedWheel, marker = ''): LockEntry {
  const [name, version, ...tags] = wheel.filename.replace(/\.whl$/, '').split('-');
  if (name === undefined || version === undefined || tags.length < 3) {
    throw new DomainError(
      'environment-unresolvable',
      `${wheel.filename} is not the name of a wheel: expected NAME-VERSION-PYTHON-ABI-PLATFORM.whl. Rename it as it was built.`,
    );
  }
  return { requirement: `${name}==${version}${marker === '' ? '' : ` ${marker}`}`, hashes: [`sha256:${wheel.sha256}`] };
}

async function run(
  { context, onLine, signal }: WheelBuilding,
  work: string,
  program: string,
  args: readonly string[],
): Promise<CommandResult> {
  return await runInstalling(context, work, program, args, { onLine, signal });
}
