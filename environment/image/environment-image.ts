// Environments in images: one layer with the packages over the base, tagged and labelled with the environment's key,
// complete or not there at all.
import type Docker from 'dockerode';
import type { ImageInspectInfo } from 'dockerode';
import { join } from 'node:path';
import { DomainError } from '#core/errors.ts';
import { type EnvironmentContext, locksDir } from '#environment/context.ts';
import { isFrozen, type Lock } from '#environment/lock.ts';
import { refuseOtherPackages } from '#environment/materialise.ts';
import { type InstalledPackages, installPackages } from '#environment/mirror/install-packages.ts';
import type { WheelStore } from '#environment/mirror/wheel-store.ts';
import { takeBack } from '#environment/process/builder.ts';
import { withFileLock } from '#environment/process/single-flight.ts';
import { sweepWork, withWorkDirectory } from '#environment/process/work-directory.ts';
import type { Interpreter } from '#environment/python/interpreters.ts';
import { createVenv, type Watching } from '#environment/venv.ts';
import type { Base } from './base.ts';
import { asking, engineStatus, imageLabel, type ImageSettings, inspectImage } from './engine.ts';
import { noPython } from './no-python.ts';
import { buildContainerName } from './run-in-container.ts';
import { sweepBuilds } from './sweep-builds.ts';
import { partsOf, tarOf, type TarPart, whileReading } from './tar-of-tree.ts';

export interface ImageRequest extends Watching {
  environmentKey: string;
  lock: Lock;
  /** The Python of the base. */
  interpreter: Interpreter;
  wheelStore?: WheelStore | undefined;
}

export interface ImageEnvironment {
  /** Id on this engine. */
  image: string;
  base: Base;
  interpreter: Interpreter;
  /** The virtual environment in the image; null where the packages are the image's own. */
  venv: string | null;
  /** True when nothing was installed. */
  hit: boolean;
  builtMs: number;
  /** Null when nothing was installed. */
  packages: InstalledPackages | null;
}

/** In every image. Scripts and bytecode name it, so it is the same everywhere. */
export const venvInImage = '/opt/assay/environment';

/**
 * The image of an environment on this engine, made when it is not there, by one process of this machine at a time.
 * Without requirements it is the base itself.
 *
 * @throws DomainError as `materialise`, and resources-exhausted for a full disk.
 */
export async function materialiseImage(context: EnvironmentContext, request: ImageRequest): Promise<ImageEnvironment> {
  const { images, base } = context;
  if (images === null || base === null) throw new TypeError('an image is made from a base by an engine');
  const { lock, interpreter } = request;
  if (isFrozen(lock.text)) {
    await refuseOtherPackages(request);
    context.counters.hits += 1;
    return { image: base.imageId, base, interpreter, venv: null, hit: true, builtMs: 0, packages: null };
  }
  requirePython(base, interpreter);
  const found = await findImage(images, base, request.environmentKey);
  if (found !== undefined) return hit(context, base, request, found);
  const fileLock = join(locksDir(context.cacheDir), `image-${request.environmentKey}`);
  return await withFileLock(fileLock, () => buildOnce(context, images, base, request), request.signal);
}

/** @throws DomainError environment-unsupported: packages can not be installed without a Python. */
export function requirePython(base: Base, interpreter: Interpreter): void {
  if (interpreter.version !== noPython) return;
  const whose = base.kind === 'dockerfile' ? `The image of ${base.reference}` : `The base image ${base.reference}`;
  throw new DomainError(
    'environment-unsupported',
    `${whose} has no Python, and this commit has requirements to install. Use a base with Python, or remove the requirement file.`,
  );
}

function hit(context: EnvironmentContext, base: Base, { interpreter }: ImageRequest, image: string): ImageEnvironment {
  context.counters.hits += 1;
  return { image, base, interpreter, venv: venvInImage, hit: true, builtMs: 0, packages: null };
}

function environmentTag(environmentKey: string): string {
  return `assay/environment:${environmentKey.slice(0, 32)}`;
}

async function findImage(images: ImageSettings, base: Base, environmentKey: string): Promise<string | undefined> {
  const found = await inspectImage(images, environmentTag(environmentKey));
  return found !== undefined && isOf(found, base, environmentKey) ? found.Id : undefined;
}

/** Exactly the base's layers and one more: a tag can be moved by anybody who reaches the engine. */
function isOf({ Config, RootFS }: ImageInspectInfo, base: Base, environmentKey: string): boolean {
  const layers = RootFS.Layers ?? [];
  const isOnBase = base.layers.every((layer, index) => layers[index] === layer);
  return isOnBase && layers.length === base.layers.length + 1 && Config.Labels?.[imageLabel] === environmentKey;
}

async function buildOnce(
  context: EnvironmentContext,
  images: ImageSettings,
  base: Base,
  request: ImageRequest,
): Promise<ImageEnvironment> {
  const found = await findImage(images, base, request.environmentKey);
  if (found !== undefined) return hit(context, base, request, found);
  const startedMs = performance.now();
  context.counters.builds += 1;
  await sweepWork(context.cacheDir);
  await sweepBuilds(context);
  const { image, packages } = await withWorkDirectory(context.cacheDir, async (work) => {
    const venv = join(work, 'environment');
    await createVenv(context, request.interpreter, venv, ['--relocatable'], request);
    const installed = await installPackages(context, { ...request, store: request.wheelStore }, venv);
    await takeBack(context, venv);
    request.onLine?.(`puts the packages into an image over ${base.reference}`);
    const layer = await commitLayer(images, context.cacheDir, base, request.environmentKey, venv, request.signal);
    return { image: layer, packages: installed };
  });
  const { interpreter } = request;
  const builtMs = Math.round(performance.now() - startedMs);
  return { image, base, interpreter, venv: venvInImage, hit: false, builtMs, packages };
}

/** The container is never started and is told nothing but the label, so the image says nothing of how it was made. */
async function commitLayer(
  { docker }: ImageSettings,
  cacheDir: string,
  base: Base,
  environmentKey: string,
  venv: string,
  signal: AbortSignal | undefined,
): Promise<string> {
  const doing = 'the packages were put into an image';
  const container = await asking(doing, () =>
    docker.createContainer({
      name: buildContainerName(cacheDir),
      Image: base.imageId,
      Labels: { [imageLabel]: environmentKey },
      ...(base.hasCommand ? {} : { Cmd: ['/bin/sh'] }),
      HostConfig: { NetworkMode: 'none' },
    }),
  );
  try {
    const folders = ['opt', 'opt/assay'];
    await asking(doing, () =>
      whileReading(tarOf(folders, venvParts(venv)), signal, async (archive, abortSignal) => {
        await container.putArchive(archive, { path: '/', abortSignal });
      }),
    );
    const [repo, tag] = environmentTag(environmentKey).split(':');
    const committed = await asking(doing, () => container.commit({ repo, tag }) as Promise<{ Id: string }>);
    return committed.Id;
  } finally {
    await removeMade(container);
  }
}

/** The lock is not part of it: requirement files may name indexes with what only the installing process may know. */
async function* venvParts(venv: string): AsyncGenerator<TarPart> {
  const root = venvInImage.slice(1);
  const left = new Set([`${root}/assay-lock.txt`, `${root}/.lock`]);
  for await (const part of partsOf(venv, root)) if (!left.has(part.name)) yield part;
}

async function removeMade(container: Docker.Container): Promise<void> {
  await asking('a container of a build was removed', () => container.remove({ force: true, v: true })).catch(
    (error: Error) => {
      // A build that the sweep of another process took for its own.
      if (engineStatus(error.cause) !== 404) throw error;
    },
  );
}
