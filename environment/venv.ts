import { constants } from 'node:fs';
import { copyFile, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { runInstalling } from '#environment/process/builder.ts';
import type { LineListener } from '#environment/process/command.ts';
import type { Interpreter } from '#environment/python/interpreters.ts';
import { isFile } from '#environment/sources/tree.ts';
import { touchWheel } from '#environment/mirror/trim-wheels.ts';
import { fileSha256, wheelEntry, wheelPath } from '#environment/uv/built-wheels.ts';
import { installingUv } from '#environment/uv/install-uv.ts';
import { uvFailure } from '#environment/uv/uv-failure.ts';
import type { EnvironmentContext } from './context.ts';
import type { Lock, LockedWheel } from './lock.ts';

/** Brings a wheel that no index has to the given path. */
export type FetchWheel = (wheel: LockedWheel, path: string) => Promise<void>;

export interface Watching {
  onLine?: LineListener | undefined;
  signal?: AbortSignal | undefined;
}

/** Creates an empty virtual environment, replacing what is there. */
export async function createVenv(
  context: EnvironmentContext,
  interpreter: Interpreter,
  target: string,
  options: readonly string[],
  { onLine, signal }: Watching,
): Promise<void> {
  const uv = await installingUv(context, onLine);
  const fixed = ['venv', '--quiet', '--clear', '--no-project', '--no-config', '--no-python-downloads'];
  const args = [...fixed, '--python', interpreter.path, ...options, target];
  const result = await runInstalling(context, join(target, '..'), uv.path, args, { onLine, signal });
  if (result.exitCode !== 0) throw uvFailure('The virtual environment', result.stderr);
}

/**
 * Makes the packages of a virtual environment exactly those of the lock, every file checked against its hash.
 *
 * @throws DomainError environment-unresolvable when a package cannot be had as it was locked.
 */
export async function syncPackages(
  context: EnvironmentContext,
  lock: Lock,
  target: string,
  { onLine, signal, fetchWheel }: Watching & { fetchWheel?: FetchWheel | undefined },
): Promise<void> {
  const links = await localWheels(context, lock, fetchWheel);
  // Every file is pinned by its hash, so it does not matter which index gives it.
  const options = ['--index-strategy=unsafe-best-match', ...context.indexArguments];
  await sync(context, { text: lock.text, options, links }, target, { onLine, signal });
}

/**
 * Makes the packages of a virtual environment exactly those of the wheels, which lie on this machine. No index is asked.
 *
 * @throws DomainError environment-unresolvable for files that are not what their names say.
 */
export async function syncWheels(
  context: EnvironmentContext,
  wheels: readonly LockedWheel[],
  target: string,
  { onLine, signal }: Watching,
): Promise<void> {
  for (const wheel of wheels) await touchWheel(wheelPath(context, wheel));
  const entries = wheels.map((wheel) => wheelEntry(wheel));
  const text = entries.map(({ requirement, hashes }) => `${requirement} --hash=${hashes.join(' --hash=')}\n`).join('');
  const links = wheels.map((wheel) => dirname(wheelPath(context, wheel)));
  await sync(context, { text, options: ['--no-index', '--no-build'], links }, target, { onLine, signal });
}

async function sync(
  context: EnvironmentContext,
  { text, options, links }: { text: string; options: readonly string[]; links: readonly string[] },
  target: string,
  { onLine, signal }: Watching,
): Promise<void> {
  const uv = await installingUv(context, onLine);
  const lockFile = join(target, 'assay-lock.txt');
  await writeFile(lockFile, text);
  const args = [
    'pip',
    'sync',
    '--require-hashes',
    '--allow-empty-requirements',
    '--no-config',
    '--no-python-downloads',
    `--link-mode=${await linkMode(context)}`,
    '--compile-bytecode',
    `--python=${join(target, 'bin', 'python')}`,
    ...options,
    ...links.flatMap((link) => ['--find-links', link]),
    lockFile,
  ];
  const result = await runInstalling(context, target, uv.path, args, { cwd: target, onLine, signal });
  if (result.exitCode !== 0) throw uvFailure('The lock', result.stderr);
}

/** The folders of the wheels that travel with the lock, brought here where they are not. */
export async function localWheels(context: EnvironmentContext, lock: Lock, fetchWheel?: FetchWheel): Promise<string[]> {
  const folders: string[] = [];
  for (const wheel of lock.wheels) {
    const path = wheelPath(context, wheel);
    if (!(await isFile(path))) await bringWheel(wheel, path, fetchWheel);
    folders.push(join(path, '..'));
  }
  return folders;
}

export async function bringWheel(wheel: LockedWheel, path: string, fetchWheel?: FetchWheel): Promise<void> {
  if (fetchWheel === undefined) throw new Error(`${wheel.filename} (${wheel.sha256}) is not on this machine`);
  await mkdir(join(path, '..'), { recursive: true });
  const partial = `${path}.${process.pid}.partial`;
  await fetchWheel(wheel, partial);
  const found = await fileSha256(partial);
  if (found !== wheel.sha256) {
    throw new Error(`${wheel.filename} arrived with sha256 ${found} instead of ${wheel.sha256}`);
  }
  await rename(partial, path);
}

const linkModes = new Map<string, Promise<'clone' | 'copy'>>();

/** Copies on write where the file system can. Left alone uv takes hard links, through which a stage could change its cache. */
async function linkMode(context: EnvironmentContext): Promise<'clone' | 'copy'> {
  const known = linkModes.get(context.cacheDir) ?? probeClone(context.cacheDir);
  linkModes.set(context.cacheDir, known);
  return await known;
}

async function probeClone(folder: string): Promise<'clone' | 'copy'> {
  const probe = await mkdtemp(join(folder, '.clone-'));
  try {
    await writeFile(join(probe, 'from'), 'x');
    await copyFile(join(probe, 'from'), join(probe, 'to'), constants.COPYFILE_FICLONE_FORCE);
    return 'clone';
  } catch (error) {
    const cannotClone = ['ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EINVAL', 'ENOTTY', 'EXDEV'];
    if (cannotClone.includes((error as NodeJS.ErrnoException).code ?? '')) return 'copy';
    throw error;
  } finally {
    await rm(probe, { recursive: true, force: true });
  }
}
