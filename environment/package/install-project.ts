// A repository that is a package is installed without dependencies from the stage's own copy: a small virtual
// environment of the stage lies over the shared, read-only one and adds the package, its metadata and its commands.
import { createHash } from 'node:crypto';
import { chmod, copyFile, cp, lstat, mkdir, open, readdir, rename, symlink, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { type EnvironmentContext, locksDir } from '#environment/context.ts';
import type { LockedWheel } from '#environment/lock.ts';
import { runCommand } from '#environment/process/command.ts';
import { withFileLock } from '#environment/process/single-flight.ts';
import { withWorkDirectory } from '#environment/process/work-directory.ts';
import { type Interpreter, platformName } from '#environment/python/interpreters.ts';
import type { LocalPackage } from '#environment/sources/local-packages.ts';
import { isFile, readText } from '#environment/sources/tree.ts';
import { buildWheel, fileSha256, wheelPath } from '#environment/uv/built-wheels.ts';
import { installUv } from '#environment/uv/install-uv.ts';
import { uvFailure } from '#environment/uv/uv-failure.ts';
import type { Watching } from '#environment/venv.ts';
import { installEditable, type VenvPlaces } from './editable.ts';
import { readPackageMetadata } from './package-metadata.ts';

export interface InstallProjectRequest extends Watching {
  /** The stage's own copy of the commit's tree. */
  sourceDir: string;
  packages: readonly LocalPackage[];
  /** The shared environment, as `materialise` returned it. */
  environment: { path: string; python: string; binDir: string };
  interpreter: Interpreter;
  /** A directory that does not exist yet and lives as long as the stage, outside of `sourceDir`. */
  target: string;
}

/** What the stage runs with instead of the shared environment. */
export interface ProjectEnvironment {
  path: string;
  python: string;
  binDir: string;
  notes: readonly string[];
}

/**
 * Without packages the shared environment itself is returned and nothing is written.
 *
 * @throws DomainError environment-unresolvable when a package that the requirements name does not build.
 */
export async function installProject(
  context: EnvironmentContext,
  request: InstallProjectRequest,
): Promise<ProjectEnvironment> {
  if (request.packages.length === 0) return { ...request.environment, notes: [] };
  const venv = await createOverlay(request);
  const notes: string[] = [];
  for (const one of request.packages) notes.push(...(await installPackage(context, request, venv, one)));
  return { path: request.target, python: venv.python, binDir: venv.binDir, notes };
}

async function installPackage(
  context: EnvironmentContext,
  request: InstallProjectRequest,
  venv: VenvPlaces,
  { directory, isExplicit }: LocalPackage,
): Promise<readonly string[]> {
  const source = join(request.sourceDir, directory);
  const metadata = await readPackageMetadata(source, request.interpreter.path, context.env);
  if (metadata.needsBuild === null) {
    await installEditable(venv, source, metadata);
    return metadata.notes;
  }
  if (!isExplicit) {
    return [`${directory} is a package that is not installed: ${metadata.needsBuild}. Add "-e ." to the requirements.`];
  }
  const wheel = await buildOnce(context, request, source);
  await installWheel(context, request, venv, wheelPath(context, wheel));
  return [`${directory} was built: ${metadata.needsBuild}.`];
}

async function createOverlay({ environment, interpreter, target }: InstallProjectRequest): Promise<VenvPlaces> {
  const minor = interpreter.version.split('.').slice(0, 2).join('.');
  const binDir = join(target, 'bin');
  const sitePackages = join(target, 'lib', `python${minor}`, 'site-packages');
  await mkdir(sitePackages, { recursive: true });
  await mkdir(binDir);
  await symlink('lib', join(target, 'lib64'));
  await writeFile(join(target, 'pyvenv.cfg'), await overlayConfig(environment.path, interpreter));
  for (const name of ['python', 'python3', `python${minor}`]) await symlink(interpreter.path, join(binDir, name));
  await bringCommands(environment.binDir, binDir);
  const below = join(environment.path, 'lib', `python${minor}`, 'site-packages');
  // addsitedir also reads the .pth files of the shared environment.
  await writeFile(join(sitePackages, '_assay_0.pth'), `import site; site.addsitedir(${JSON.stringify(below)})\n`);
  return { sitePackages, binDir, python: join(binDir, 'python') };
}

async function overlayConfig(shared: string, interpreter: Interpreter): Promise<string> {
  const config = (await readText(join(shared, 'pyvenv.cfg'))) ?? '';
  const usesSystem = /include-system-site-packages\s*=\s*true/.test(config);
  return [
    `home = ${dirname(interpreter.path)}`,
    'implementation = CPython',
    `version_info = ${interpreter.version}`,
    `include-system-site-packages = ${usesSystem}`,
    '',
  ].join('\n');
}

/** The scripts of a relocatable environment run the Python beside them, so a copy of a script sees the package too. */
async function bringCommands(from: string, to: string): Promise<void> {
  const names = (await readdir(from)).filter(
    (name) => !/^(python[\d.]*|activate.*|deactivate.*|pydoc\.bat)$/.test(name),
  );
  for (const name of names) {
    const path = join(from, name);
    if (!(await lstat(path)).isFile()) continue;
    if (!(await isScript(path))) {
      await symlink(path, join(to, name));
      continue;
    }
    await copyFile(path, join(to, name));
    await chmod(join(to, name), 0o755);
  }
}

async function isScript(path: string): Promise<boolean> {
  const file = await open(path);
  try {
    const { buffer } = await file.read(Buffer.alloc(2), 0, 2, 0);
    return buffer.toString('latin1') === '#!';
  } finally {
    await file.close();
  }
}

/** One build per content, Python and platform of this machine. */
async function buildOnce(
  context: EnvironmentContext,
  request: InstallProjectRequest,
  source: string,
): Promise<LockedWheel> {
  const { interpreter } = request;
  const content = [await treeDigest(source), interpreter.version, platformName(interpreter.platform)];
  const id = createHash('sha256').update(JSON.stringify(content)).digest('hex');
  const record = join(context.cacheDir, 'wheels', 'projects', `${id}.json`);
  return await withFileLock(join(locksDir(context.cacheDir), `project-${id}`), async () => {
    const known = await readText(record);
    if (known !== undefined && (await isFile(wheelPath(context, JSON.parse(known) as LockedWheel)))) {
      return JSON.parse(known) as LockedWheel;
    }
    context.counters.projectBuilds += 1;
    const wheel = await buildCopy(context, request, source);
    await mkdir(dirname(record), { recursive: true });
    await writeFile(`${record}.new`, JSON.stringify(wheel));
    await rename(`${record}.new`, record);
    return wheel;
  });
}

/** Build backends write beside the sources, where new files would count as outputs of the stage. */
async function buildCopy(
  context: EnvironmentContext,
  request: InstallProjectRequest,
  source: string,
): Promise<LockedWheel> {
  return await withWorkDirectory(context.cacheDir, async (work) => {
    const copy = join(work, basename(source));
    await cp(source, copy, { recursive: true });
    const { interpreter, onLine, signal } = request;
    return await buildWheel({ context, interpreter, onLine, signal }, copy, work);
  });
}

async function treeDigest(folder: string): Promise<string> {
  const hash = createHash('sha256');
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  for (const path of files.sort()) hash.update(`${path.slice(folder.length)}\0${await fileSha256(path)}\n`);
  return hash.digest('hex');
}

async function installWheel(
  context: EnvironmentContext,
  { onLine, signal }: Watching,
  venv: VenvPlaces,
  wheel: string,
): Promise<void> {
  const uv = await installUv(context, onLine);
  const options = ['--no-deps', '--no-config', '--offline', '--link-mode', 'copy', '--python', venv.python];
  const result = await runCommand(uv.path, ['pip', 'install', ...options, wheel], {
    env: context.installingEnv,
    onLine,
    signal,
  });
  if (result.exitCode !== 0) throw uvFailure(basename(wheel), result.stderr);
}
