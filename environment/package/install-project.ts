// A repository that is a package is installed without dependencies from the stage's own copy: a small virtual
// environment of the stage lies over the shared, read-only one and adds the package, its metadata and its commands.
import { basename, join } from 'node:path';
import type { EnvironmentContext } from '#environment/context.ts';
import { runInstalling, takeBack } from '#environment/process/builder.ts';
import { runCommand } from '#environment/process/command.ts';
import type { Interpreter } from '#environment/python/interpreters.ts';
import { readingPython } from '#environment/python/select-interpreter.ts';
import type { LocalPackage } from '#environment/sources/local-packages.ts';
import { wheelPath } from '#environment/uv/built-wheels.ts';
import { installingUv } from '#environment/uv/install-uv.ts';
import { uvFailure } from '#environment/uv/uv-failure.ts';
import type { Watching } from '#environment/venv.ts';
import { buildProject } from './build-project.ts';
import { installEditable, type VenvPlaces } from './editable.ts';
import { type Below, belowOf, createOverlay } from './overlay.ts';
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
  return await installOver(context, request, await belowOf(request.environment, request.interpreter));
}

/** The packages in a virtual environment of their own over what is shared. */
export async function installOver(
  context: EnvironmentContext,
  request: Omit<InstallProjectRequest, 'environment'>,
  below: Below,
): Promise<ProjectEnvironment> {
  const venv = await createOverlay(below, request.interpreter, request.target);
  const notes: string[] = [];
  for (const one of request.packages) notes.push(...(await installPackage(context, request, venv, one)));
  return { path: request.target, python: venv.python, binDir: venv.binDir, notes };
}

async function installPackage(
  context: EnvironmentContext,
  request: Omit<InstallProjectRequest, 'environment'>,
  venv: VenvPlaces,
  { directory, isExplicit }: LocalPackage,
): Promise<readonly string[]> {
  const { interpreter, onLine, signal } = request;
  const source = join(request.sourceDir, directory);
  const metadata = await readPackageMetadata(source, await readingPython(context, interpreter), context.env);
  if (metadata.needsBuild === null) {
    await installEditable(venv, source, metadata);
    return metadata.notes;
  }
  if (!isExplicit) {
    return [`${directory} is a package that is not installed: ${metadata.needsBuild}. Add "-e ." to the requirements.`];
  }
  const wheel = await buildProject({ context, interpreter, onLine, signal }, source);
  await installWheel(context, request, venv, wheelPath(context, wheel), request.target);
  return [`${directory} was built: ${metadata.needsBuild}.`];
}

async function installWheel(
  context: EnvironmentContext,
  { onLine, signal }: Watching,
  venv: VenvPlaces,
  wheel: string,
  target: string,
): Promise<void> {
  const uv = await installingUv(context, onLine);
  // The cache belongs to the builder, where there is one.
  const cache = context.builder === null ? [] : ['--no-cache'];
  const options = ['--no-deps', '--no-config', '--offline', '--link-mode', 'copy', ...cache, '--python', venv.python];
  const args = ['pip', 'install', ...options, wheel];
  const run =
    context.base === null
      ? runCommand(uv.path, args, { env: context.installingEnv, onLine, signal })
      : runInstalling(context, target, uv.path, args, { onLine, signal });
  const result = await run;
  if (context.base !== null) await takeBack(context, target);
  if (result.exitCode !== 0) throw uvFailure(basename(wheel), result.stderr);
}
