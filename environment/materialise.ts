// Environments of this machine: cacheDir/environments/<environmentKey>/, complete or not there at all.
import { chmod, mkdir, open, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { DomainError } from '#core/errors.ts';
import { type InstalledPackages, installPackages } from '#environment/mirror/install-packages.ts';
import type { WheelStore } from '#environment/mirror/wheel-store.ts';
import { takeBack } from '#environment/process/builder.ts';
import { withFileLock } from '#environment/process/single-flight.ts';
import { makeReadOnly, removeTree } from '#environment/process/trees.ts';
import { sweepWork, withWorkDirectory } from '#environment/process/work-directory.ts';
import type { Interpreter } from '#environment/python/interpreters.ts';
import { isFile, readText } from '#environment/sources/tree.ts';
import { type EnvironmentContext, locksDir } from './context.ts';
import { freeze } from './freeze.ts';
import { isFrozen, type Lock } from './lock.ts';
import { createVenv, type Watching } from './venv.ts';

export interface MaterialiseRequest extends Watching {
  environmentKey: string;
  lock: Lock;
  /** Exactly the version that the key was made from. */
  interpreter: Interpreter;
  /** Where its wheels are kept beyond this machine. */
  wheelStore?: WheelStore | undefined;
}

export interface MaterialisedEnvironment {
  /** The virtual environment: read-only, shared by the stages of this machine. */
  path: string;
  python: string;
  binDir: string;
  interpreter: Interpreter;
  /** True when nothing was installed. */
  hit: boolean;
  builtMs: number;
  /** Null when nothing was installed. */
  packages: InstalledPackages | null;
}

/** Written last into a complete environment. */
interface Marker {
  environmentKey: string;
  lockSha256: string;
  python: string;
  interpreter: string;
}

const markerName = 'assay-environment.json';

/**
 * The environment of a key on this machine, built when it is not there, by one process at a time.
 *
 * @throws DomainError environment-unresolvable when a package cannot be had as it was locked,
 * environment-unsupported when the lock records the packages of another Python.
 */
export async function materialise(
  context: EnvironmentContext,
  request: MaterialiseRequest,
): Promise<MaterialisedEnvironment> {
  const path = join(context.cacheDir, 'environments', request.environmentKey);
  if (isFrozen(request.lock.text)) await refuseOtherPackages(request);
  if (await isComplete(path, request)) return hit(context, path, request.interpreter);
  const lock = join(locksDir(context.cacheDir), `environment-${request.environmentKey}`);
  return await withFileLock(lock, () => buildOnce(context, request, path), request.signal);
}

function hit(context: EnvironmentContext, path: string, interpreter: Interpreter): MaterialisedEnvironment {
  context.counters.hits += 1;
  return { ...places(path), interpreter, hit: true, builtMs: 0, packages: null };
}

function places(path: string): Pick<MaterialisedEnvironment, 'path' | 'python' | 'binDir'> {
  return { path, python: join(path, 'bin', 'python'), binDir: join(path, 'bin') };
}

async function isComplete(path: string, { lock, interpreter }: MaterialiseRequest): Promise<boolean> {
  const marker = parseMarker(await readText(join(path, markerName)));
  if (marker?.lockSha256 !== lock.sha256 || marker.interpreter !== interpreter.path) return false;
  return marker.python === interpreter.version && (await isFile(join(path, 'bin', 'python')));
}

function parseMarker(text: string | undefined): Marker | undefined {
  try {
    return text === undefined ? undefined : (JSON.parse(text) as Marker);
  } catch (error) {
    // A marker that a full disk cut short stands for an incomplete environment.
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

async function buildOnce(
  context: EnvironmentContext,
  request: MaterialiseRequest,
  path: string,
): Promise<MaterialisedEnvironment> {
  if (await isComplete(path, request)) return hit(context, path, request.interpreter);
  const startedMs = performance.now();
  context.counters.builds += 1;
  await sweepWork(context.cacheDir);
  await mkdir(join(path, '..'), { recursive: true });
  const packages = await withWorkDirectory(context.cacheDir, async (work) => {
    const building = join(work, request.environmentKey);
    const installed = await install(context, request, building);
    await takeBack(context, building);
    await writeMarker(building, request);
    await makeReadOnly(building);
    await removeTree(path);
    await renameReadOnly(building, path);
    return installed;
  });
  return {
    ...places(path),
    interpreter: request.interpreter,
    hit: false,
    builtMs: Math.round(performance.now() - startedMs),
    packages,
  };
}

/** Moving a directory to another parent writes its `..`, which needs the permission. */
async function renameReadOnly(from: string, to: string): Promise<void> {
  await chmod(from, 0o755);
  await rename(from, to);
  await chmod(to, 0o555);
}

async function install(
  context: EnvironmentContext,
  request: MaterialiseRequest,
  target: string,
): Promise<InstalledPackages | null> {
  const { interpreter, lock } = request;
  const frozen = isFrozen(lock.text);
  const options = frozen ? ['--relocatable', '--system-site-packages'] : ['--relocatable'];
  await createVenv(context, interpreter, target, options, request);
  return frozen ? null : await installPackages(context, { ...request, store: request.wheelStore }, target);
}

/** @throws DomainError environment-unsupported when the lock records other packages than this Python has. */
export async function refuseOtherPackages({
  lock,
  interpreter,
}: Pick<MaterialiseRequest, 'lock' | 'interpreter'>): Promise<void> {
  const here = await freeze(interpreter);
  if (here.sha256 === lock.sha256) return;
  const [asked, found] = [new Set(packagesOf(lock)), new Set(packagesOf(here))];
  const lacking = [...asked].filter((name) => !found.has(name)).join(', ');
  const more = [...found].filter((name) => !asked.has(name)).join(', ');
  throw new DomainError(
    'environment-unsupported',
    `This run uses the packages of Python itself, and the Python of this machine has others: it lacks ${lacking || 'none'} and has besides ${more || 'none'}. Add a requirements.txt, which gives the same packages everywhere.`,
  );
}

function packagesOf({ text }: Lock): string[] {
  return text.split('\n').flatMap((line) => /^# (\S+==\S+)$/.exec(line)?.[1] ?? []);
}

/** The rename that follows makes the environment visible, so the marker reaches the disk first. */
async function writeMarker(target: string, { environmentKey, lock, interpreter }: MaterialiseRequest): Promise<void> {
  const { version: python, path } = interpreter;
  const marker: Marker = { environmentKey, lockSha256: lock.sha256, python, interpreter: path };
  const file = await open(join(target, markerName), 'w');
  try {
    await file.writeFile(JSON.stringify(marker));
    await file.sync();
  } finally {
    await file.close();
  }
}
