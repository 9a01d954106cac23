import { access, constants, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { delimiter, isAbsolute, join } from 'node:path';
import { DomainError } from '#core/errors.ts';
import { type EnvironmentContext, locksDir, pythonsDir } from '#environment/context.ts';
import { type CommandResult, type LineListener, runCommand } from '#environment/process/command.ts';
import { withFileLock } from '#environment/process/single-flight.ts';
import { withWorkDirectory } from '#environment/process/work-directory.ts';
import { candidatePaths } from '#environment/python/interpreters.ts';
import { isFile } from '#environment/sources/tree.ts';
import { uvHashes, uvVersion } from './pinned-uv.ts';

export interface Uv {
  path: string;
  version: string;
}

const found = new Map<string, Promise<Uv>>();

/**
 * The uv that installs where the context says: this machine's, or one that runs in every image. Its wheel for musl is
 * linked statically, so the C library of the image does not matter.
 */
export async function installingUv(context: EnvironmentContext, onLine?: LineListener): Promise<Uv> {
  if (context.base === null) return await installUv(context, onLine);
  const arch = context.base.arch === 'arm64' ? 'aarch64' : 'x86_64';
  const target = join(context.cacheDir, 'uv', `${uvVersion}-${arch}`);
  const path = join(target, 'bin', 'uv');
  if (await isFile(path)) return { path, version: uvVersion };
  const options = ['--platform', `musllinux_1_1_${arch}`];
  const lock = join(locksDir(context.cacheDir), `uv-${arch}`);
  return await withFileLock(lock, () => installOnce(context, target, options, onLine));
}

/**
 * The pinned uv: the configured path, else `PATH`, else our own copy, which is installed once per machine.
 *
 * @throws DomainError environment-unsupported when the configured uv has another version, or this machine has no
 * Python to install it with.
 */
export async function installUv(context: EnvironmentContext, onLine?: LineListener): Promise<Uv> {
  const id = `${context.uvPath} ${context.cacheDir}`;
  const known = found.get(id) ?? locate(context, onLine);
  found.set(id, known);
  try {
    return await known;
  } catch (error) {
    found.delete(id);
    throw error;
  }
}

async function locate(context: EnvironmentContext, onLine?: LineListener): Promise<Uv> {
  if (context.uvPath !== null) return await configured(context, context.uvPath);
  const own = join(context.cacheDir, 'uv', uvVersion);
  const folders = (context.env.PATH ?? '').split(delimiter).filter(isAbsolute);
  for (const path of [join(own, 'bin', 'uv'), ...folders.map((folder) => join(folder, 'uv'))]) {
    if ((await isProgram(path)) && (await versionOf(context, path)) === uvVersion) return { path, version: uvVersion };
  }
  return await withFileLock(join(locksDir(context.cacheDir), 'uv'), () => installOnce(context, own, [], onLine));
}

async function configured(context: EnvironmentContext, path: string): Promise<Uv> {
  const version = await versionOf(context, path);
  if (version === uvVersion) return { path, version };
  throw new DomainError(
    'environment-unsupported',
    `The configured uv at ${path} is version ${version ?? 'unknown'}; ${uvVersion} is expected. Install that version there, or remove the setting and Assay installs its own.`,
  );
}

/** A folder on PATH that this user may not enter holds no program for it. */
async function isProgram(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}

async function versionOf(context: EnvironmentContext, path: string): Promise<string | undefined> {
  try {
    const { stdout } = await runCommand(path, ['--version'], { env: context.env });
    return /^uv (\d\S*)/.exec(stdout)?.[1];
  } catch (error) {
    if (['ENOENT', 'EACCES', 'ENOEXEC'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  }
}

async function installOnce(
  context: EnvironmentContext,
  target: string,
  options: readonly string[],
  onLine?: LineListener,
): Promise<Uv> {
  const path = join(target, 'bin', 'uv');
  if (await isFile(path)) return { path, version: uvVersion };
  await mkdir(join(context.cacheDir, 'uv'), { recursive: true });
  await withWorkDirectory(context.cacheDir, async (work) => {
    await installInto(context, work, options, onLine);
    await rm(target, { recursive: true, force: true });
    await rename(join(work, 'uv'), target);
  });
  return { path, version: uvVersion };
}

/** The first Python with pip installs it; one without pip makes a virtual environment that has it. */
async function installInto(
  context: EnvironmentContext,
  building: string,
  options: readonly string[],
  onLine?: LineListener,
): Promise<void> {
  const failures: string[] = [];
  for (const python of await existingPythons(context)) {
    const direct = await pipInstall(context, python, building, options, onLine);
    if (direct.exitCode === 0) return;
    const venv = join(building, 'pip');
    const made = await runCommand(python, ['-m', 'venv', '--clear', venv], { env: context.env });
    const through =
      made.exitCode === 0 ? await pipInstall(context, join(venv, 'bin', 'python'), building, options, onLine) : made;
    if (through.exitCode === 0) return;
    failures.push(`${python}: ${lastLine(through) || lastLine(direct)}`);
  }
  throw cannotInstall(failures);
}

async function pipInstall(
  context: EnvironmentContext,
  python: string,
  building: string,
  options: readonly string[],
  onLine?: LineListener,
): Promise<CommandResult> {
  const requirements = join(building, 'requirements.txt');
  await writeFile(requirements, [`uv==${uvVersion}`, ...uvHashes.map((hash) => `--hash=sha256:${hash}`)].join(' \\\n'));
  const index = context.installingEnv.UV_DEFAULT_INDEX;
  const env = {
    ...context.installingEnv,
    PIP_DISABLE_PIP_VERSION_CHECK: '1',
    PIP_ROOT_USER_ACTION: 'ignore',
    ...(index ? { PIP_INDEX_URL: index } : {}),
  };
  const args = ['-m', 'pip', 'install', '--quiet', '--no-input', '--no-deps', '--only-binary', ':all:'];
  const target = ['--require-hashes', '--target', join(building, 'uv'), '-r', requirements];
  return await runCommand(python, [...args, ...options, ...context.indexArguments, ...target], { env, onLine });
}

async function existingPythons(context: EnvironmentContext): Promise<string[]> {
  const paths = await candidatePaths(context.env, context.preferredPython, pythonsDir(context.cacheDir));
  const present = await Promise.all(paths.map(isProgram));
  const triedMax = 4;
  return paths.filter((_, index) => present[index]).slice(0, triedMax);
}

function lastLine({ stderr, stdout }: CommandResult): string {
  return (stderr.trim() || stdout.trim()).split('\n').at(-1) ?? '';
}

function cannotInstall(failures: readonly string[]): Error {
  const hint = 'Install python3 with pip or venv (on Debian: python3-venv), or set ASSAY_UV to a uv of that version.';
  if (failures.length === 0) {
    return new DomainError(
      'environment-unsupported',
      `uv ${uvVersion} cannot be installed: there is no python3. ${hint}`,
    );
  }
  // An index that does not answer is trouble in the world, so it stays an ordinary error.
  return new Error(`uv ${uvVersion} could not be installed by pip. ${failures.join('; ')}. ${hint}`);
}
