// What a stage runs with in a container: the shared image, under an overlay at the stage's own folder when its tree is a
// package.
import { type EnvironmentContext, inImage } from '#environment/context.ts';
import { installOver, type InstallProjectRequest } from '#environment/package/install-project.ts';
import { type Below, sitePackagesOf } from '#environment/package/overlay.ts';
import type { ImageEnvironment } from './environment-image.ts';
import { imageCommands } from './image-commands.ts';
import { noPython } from './no-python.ts';

export interface StageImage {
  image: string;
  /** Null where the packages are the image's own. */
  venv: string | null;
  /** The whole PATH. */
  searchPath: string;
  notes: readonly string[];
}

export async function installInStageImage(
  context: EnvironmentContext,
  environment: ImageEnvironment,
  request: Pick<InstallProjectRequest, 'sourceDir' | 'packages' | 'target' | 'onLine' | 'signal'>,
): Promise<StageImage> {
  const { image, base, venv, interpreter } = environment;
  if (request.packages.length === 0 || interpreter.version === noPython) {
    const searchPath = venv === null ? base.searchPath : `${venv}/bin:${base.searchPath}`;
    return { image, venv, searchPath, notes: [] };
  }
  const within = inImage(context, base);
  const below = await belowInImage(within, environment);
  const { binDir, notes } = await installOver(within, { ...request, interpreter }, below);
  return { image, venv: request.target, searchPath: `${binDir}:${base.searchPath}`, notes };
}

async function belowInImage(context: EnvironmentContext, environment: ImageEnvironment): Promise<Below> {
  const { venv, interpreter } = environment;
  if (venv === null) return { sitePackages: interpreter.sitePackages, usesSystem: true, scriptsDir: null };
  const { scriptsDir, programs: names } = await imageCommands(context, environment);
  const sitePackages = [sitePackagesOf(venv, interpreter)];
  return { sitePackages, usesSystem: false, scriptsDir, programs: { names, folder: `${venv}/bin` } };
}
