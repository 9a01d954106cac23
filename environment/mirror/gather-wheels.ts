// Every wheel that an environment is made of, as files of this machine: brought from what is kept, else downloaded once,
// else built of an archive. What is installed, what is kept and what another node gets are the same bytes.
import { createHash } from 'node:crypto';
import { copyFile, lstat, mkdir, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { EnvironmentContext } from '#environment/context.ts';
import { isOption, type Lock, type LockedWheel, parseEntries } from '#environment/lock.ts';
import { runInstalling, takeBack } from '#environment/process/builder.ts';
import { withWorkDirectory } from '#environment/process/work-directory.ts';
import { type Interpreter, platformName } from '#environment/python/interpreters.ts';
import { isFile } from '#environment/sources/tree.ts';
import { baseOf, buildWheel, fileSha256, once, type WheelBuilding, wheelPath } from '#environment/uv/built-wheels.ts';
import { bringWheel, localWheels, type Watching } from '#environment/venv.ts';
import { type LockedFile, lockedFiles } from './locked-files.ts';
import type { GatheredWheel, WheelStore } from './wheel-store.ts';

const script = fileURLToPath(new URL('./fetch-files.py', import.meta.url));

export interface GatherRequest extends Watching {
  lock: Lock;
  interpreter: Interpreter;
  store: WheelStore;
}

/** The files could not be had in this way. Installing asks the index itself then, which may know more. */
export class NotGatheredError extends Error {}

/** @throws NotGatheredError, and DomainError environment-unresolvable for an archive that does not build. */
export async function gatherWheels(context: EnvironmentContext, request: GatherRequest): Promise<GatheredWheel[]> {
  const { lock, store, signal } = request;
  const links = await localWheels(context, lock, (wheel, path) => store.fetch(wheel, path));
  return await withWorkDirectory(context.cacheDir, async (work) => {
    const files = await orNotGathered(signal, () => lockedFiles(context, { ...request, links }, work));
    const odd = files.find(({ filename }) => !/^[\w.+!-]+$/.test(filename));
    if (odd !== undefined)
      throw new NotGatheredError(`${JSON.stringify(odd.filename)} is not the name of a distribution`);
    const wheels = new Map<LockedFile, GatheredWheel>();
    const wanted: LockedFile[] = [];
    for (const file of files) {
      const known = await findHere(context, request, file);
      if (known === null) wanted.push(file);
      else wheels.set(file, known);
    }
    const fetched = await orNotGathered(signal, () => download(context, request, wanted, work));
    for (const [index, path] of fetched.entries()) {
      const file = wanted[index] as LockedFile;
      wheels.set(file, await wheelOf(context, request, file, path, work));
    }
    return files.map((file) => wheels.get(file) as GatheredWheel);
  });
}

/** Installing directly tells the user more of what is wrong with an index than this does, or manages. */
async function orNotGathered<T>(signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    signal?.throwIfAborted();
    throw new NotGatheredError(error instanceof Error ? error.message : String(error), { cause: error });
  }
}

async function findHere(
  context: EnvironmentContext,
  { lock, store, ...request }: GatherRequest,
  file: LockedFile,
): Promise<GatheredWheel | null> {
  const { filename, sha256 } = file;
  if (sha256 === null) return null;
  const ofLock = lock.wheels.find((wheel) => wheel.sha256 === sha256);
  const wheel = { filename, sha256 };
  if (!file.isWheel) {
    const built = await once(context, ...archiveId({ context, ...request }, sha256), () => Promise.resolve(null));
    return built === null ? null : { ...built, path: wheelPath(context, built), origin: 'built' };
  }
  const path = wheelPath(context, ofLock ?? wheel);
  if (!(await isFile(path))) {
    if ((await store.missing([sha256])).length > 0) return null;
    await bringWheel(wheel, path, (one, target) => store.fetch(one, target));
  }
  return { ...(ofLock ?? wheel), path, origin: ofLock === undefined ? 'index' : 'lock' };
}

/** Their paths, in the order given. */
async function download(
  context: EnvironmentContext,
  { interpreter, onLine, signal }: GatherRequest,
  files: readonly LockedFile[],
  work: string,
): Promise<string[]> {
  if (files.length === 0) return [];
  onLine?.(`downloads ${files.length} of the lock's files`);
  // A container sees the work's folder, not that of this program.
  const program = join(work, 'fetch-files.py');
  await copyFile(script, program);
  const list = join(work, 'files.json');
  await writeFile(list, JSON.stringify(files.map(({ url, filename, sha256s }) => ({ url, filename, sha256s }))));
  const folder = join(work, 'files');
  await mkdir(folder);
  const args = ['-I', program, list, folder];
  const options = { cwd: work, signal, isOfImage: context.base !== null };
  const { exitCode, stdout, stderr } = await runInstalling(context, work, interpreter.path, args, options);
  await takeBack(context, folder);
  if (exitCode !== 0) throw new Error(stderr.trim().split('\n').at(-1) ?? 'the download gave no reason');
  const answers = JSON.parse(stdout) as LockedWheel[];
  return answers.map(({ sha256, filename }) => join(folder, sha256, filename));
}

async function wheelOf(
  context: EnvironmentContext,
  { lock, interpreter, onLine, signal }: GatherRequest,
  file: LockedFile,
  path: string,
  work: string,
): Promise<GatheredWheel> {
  // The account that downloaded it is not believed.
  if (!(await lstat(path)).isFile()) throw new NotGatheredError(`${file.filename} did not arrive as a file`);
  const sha256 = await fileSha256(path);
  if (!file.sha256s.includes(sha256))
    throw new NotGatheredError(`${file.filename} has sha256 ${sha256} on this machine`);
  if (file.isWheel) {
    const wheel = { filename: file.filename, sha256 };
    const target = wheelPath(context, wheel);
    await mkdir(dirname(target), { recursive: true });
    await rename(path, target);
    return { ...wheel, path: target, origin: 'index' };
  }
  const building = { context, interpreter, onLine, signal };
  const options = parseEntries(lock.text)
    .filter(isOption)
    .flatMap(
      ({ requirement }) => /^(--(?:index-url|extra-index-url|find-links))[ =](\S+)$/.exec(requirement)?.slice(1) ?? [],
    );
  const built = await once(context, ...archiveId(building, sha256), () => buildWheel(building, path, work, options));
  return { ...built, path: wheelPath(context, built), origin: 'built' };
}

/** What is compiled depends on Python, platform and image. */
function archiveId({ context, interpreter }: WheelBuilding, sha256: string): [folder: string, id: string] {
  const where = [interpreter.version, platformName(interpreter.platform), ...baseOf(context)];
  return [
    'archives',
    createHash('sha256')
      .update(JSON.stringify([sha256, ...where]))
      .digest('hex'),
  ];
}
