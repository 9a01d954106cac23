import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { DomainError } from '#core/errors.ts';
import { installEditable } from '#environment/package/editable.ts';
import { readPackageMetadata } from '#environment/package/package-metadata.ts';
import { runCommand } from '#environment/process/command.ts';
import type { Interpreter } from '#environment/python/interpreters.ts';
import type { LocalPackage } from '#environment/sources/local-packages.ts';
import { isFile, readText } from '#environment/sources/tree.ts';
import { installUv } from '#environment/uv/install-uv.ts';
import { uvFailure } from '#environment/uv/uv-failure.ts';
import type { EnvironmentContext } from './context.ts';
import { isFrozen, type Lock } from './lock.ts';
import { createVenv, type FetchWheel, syncPackages, type Watching } from './venv.ts';

export interface LocalVenvRequest extends Watching {
  checkoutDir: string;
  lock: Lock;
  interpreter: Interpreter;
  packages: readonly LocalPackage[];
  /** True replaces a `.venv` of another Python. */
  replace?: boolean;
  fetchWheel?: FetchWheel | undefined;
}

/**
 * Makes `.venv` of a checkout hold exactly the packages of a lock, and the checkout's own packages as editable.
 *
 * @returns its path.
 * @throws DomainError conflict when `.venv` is something else, or is of another Python and `replace` is not set.
 */
export async function createLocalVenv(context: EnvironmentContext, request: LocalVenvRequest): Promise<string> {
  const { checkoutDir, lock, interpreter } = request;
  const path = join(checkoutDir, '.venv');
  const isKept = await isSamePython(path, request);
  if (!isKept)
    await createVenv(context, interpreter, path, isFrozen(lock.text) ? ['--system-site-packages'] : [], request);
  if (!isFrozen(lock.text)) await syncPackages(context, lock, path, request);
  for (const one of request.packages) await installPackage(context, request, path, one);
  return path;
}

async function isSamePython(path: string, { interpreter, replace }: LocalVenvRequest): Promise<boolean> {
  if (!(await exists(path))) return false;
  const config = await readText(join(path, 'pyvenv.cfg'));
  if (config === undefined && (await readdir(path)).length > 0) throw notAVenv(path);
  const version = /^version(?:_info)?\s*=\s*(\d+\.\d+\.\d+)/m.exec(config ?? '')?.[1];
  if (version === interpreter.version && (await isFile(join(path, 'bin', 'python')))) return true;
  if (replace || config === undefined) return false;
  throw new DomainError(
    'conflict',
    `${path} is of Python ${version ?? 'unknown'}; this environment is of Python ${interpreter.version}. Replace it with --replace, or remove it.`,
  );
}

async function exists(path: string): Promise<boolean> {
  const found = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  return found !== undefined;
}

function notAVenv(path: string): DomainError {
  return new DomainError('conflict', `${path} is there and is not a virtual environment. Move it away and ask again.`);
}

async function installPackage(
  context: EnvironmentContext,
  { checkoutDir, interpreter, onLine, signal }: LocalVenvRequest,
  venv: string,
  { directory, isExplicit }: LocalPackage,
): Promise<void> {
  const source = join(checkoutDir, directory);
  const metadata = await readPackageMetadata(source, interpreter.path, context.env);
  const minor = interpreter.version.split('.').slice(0, 2).join('.');
  const binDir = join(venv, 'bin');
  const python = join(binDir, 'python');
  if (metadata.needsBuild === null) {
    const sitePackages = join(venv, 'lib', `python${minor}`, 'site-packages');
    return await installEditable({ sitePackages, binDir, python }, source, metadata);
  }
  if (!isExplicit) return;
  const uv = await installUv(context, onLine);
  const args = ['pip', 'install', '--no-deps', '--python', python, ...context.indexArguments, '--editable', source];
  const result = await runCommand(uv.path, args, { env: context.installingEnv, onLine, signal });
  if (result.exitCode !== 0) throw uvFailure(directory, result.stderr);
}
