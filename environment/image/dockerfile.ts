// The project's own Dockerfile as a base: built by the engine from the commit's tree, with bounds and without secrets.
import { createHash } from 'node:crypto';
import { lstat, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { ImageInspectInfo } from 'dockerode';
import { DomainError } from '#core/errors.ts';
import { locksDir } from '#environment/context.ts';
import type { LineListener } from '#environment/process/command.ts';
import { withFileLock } from '#environment/process/single-flight.ts';
import { readText } from '#environment/sources/tree.ts';
import { fileSha256 } from '#environment/uv/built-wheels.ts';
import { buildFailure, tooLong } from './build-failure.ts';
import { buildNetwork } from './build-network.ts';
import { createBuildOutput } from './build-output.ts';
import { contextFiles, movingBases, refuseRemoteSources } from './context-files.ts';
import { baseLabel, buildTimeoutMs, engineMessage, engineStatus, type ImageSettings, inspectImage } from './engine.ts';
import { followEvents } from './engine-events.ts';
import { tarOf, whileReading } from './tar-of-tree.ts';

export interface DockerfileBuild {
  root: string;
  /** Relative to the tree. */
  dockerfile: string;
  digest: string;
  onLine?: LineListener | undefined;
  signal?: AbortSignal | undefined;
}

const digests = new Map<string, Promise<string>>();

/** A tree of a commit does not change, so each is read once per process. */
export async function dockerfileDigest(root: string, dockerfile: string): Promise<string> {
  const id = `${root}\0${dockerfile}`;
  const known = digests.get(id) ?? computeDigest(root, dockerfile);
  digests.set(id, known);
  try {
    return await known;
  } catch (error) {
    digests.delete(id);
    throw error;
  }
}

async function computeDigest(root: string, dockerfile: string): Promise<string> {
  const text = await readDockerfile(root, dockerfile);
  const hash = createHash('sha256').update(`${JSON.stringify(text)}\n`);
  for (const path of await contextFiles(root, dockerfile, text)) {
    const found = await lstat(join(root, path));
    const content = found.isSymbolicLink()
      ? `-> ${await readlink(join(root, path))}`
      : await fileSha256(join(root, path));
    hash.update(`${JSON.stringify([path, (found.mode & 0o111) !== 0, content])}\n`);
  }
  return `sha256:${hash.digest('hex')}`;
}

async function readDockerfile(root: string, dockerfile: string): Promise<string> {
  const text = await readText(join(root, dockerfile));
  if (text !== undefined) return text;
  throw new DomainError(
    'environment-unresolvable',
    `There is no file ${dockerfile} in this commit. Commit it, or correct \`dockerfile:\` in assay.yaml.`,
    [{ path: 'dockerfile', message: `no file ${dockerfile}`, file: 'assay.yaml' }],
  );
}

/**
 * The image of a Dockerfile on this engine, built when it is not there; `builtMs` is null when it was.
 *
 * @throws DomainError environment-unresolvable with the last lines of a build that fails, resources-exhausted when disk
 * or memory were not enough.
 */
export async function buildBase(
  cacheDir: string,
  images: ImageSettings,
  build: DockerfileBuild,
): Promise<{ image: ImageInspectInfo; builtMs: number | null }> {
  const digest = build.digest.replace('sha256:', '');
  const tag = `assay/base:${digest.slice(0, 32)}`;
  const find = async (): Promise<ImageInspectInfo | undefined> => {
    const known = await inspectImage(images, tag);
    return known?.Config.Labels?.[baseLabel] === build.digest ? known : undefined;
  };
  const buildOnce = async () => {
    const known = await find();
    if (known !== undefined) return { image: known, builtMs: null };
    const startedMs = performance.now();
    await runBuild(images, build, tag);
    const built = await find();
    if (built === undefined) throw new Error(`The engine built ${build.dockerfile} without leaving an image.`);
    return { image: built, builtMs: Math.round(performance.now() - startedMs) };
  };
  const known = await find();
  if (known !== undefined) return { image: known, builtMs: null };
  return await withFileLock(join(locksDir(cacheDir), `base-${digest}`), buildOnce, build.signal);
}

async function runBuild(images: ImageSettings, build: DockerfileBuild, tag: string): Promise<void> {
  const text = await readDockerfile(build.root, build.dockerfile);
  const { limits, docker } = images;
  refuseRemoteSources(build.dockerfile, text);
  for (const note of movingBases(text)) build.onLine?.(note);
  const paths = [build.dockerfile, ...(await contextFiles(build.root, build.dockerfile, text))];
  const parts = paths.map((path) => ({ name: path, path: join(build.root, path) }));
  const timeout = AbortSignal.timeout(buildTimeoutMs);
  const either = build.signal === undefined ? timeout : AbortSignal.any([timeout, build.signal]);
  const network = await buildNetwork(images);
  const output = createBuildOutput(build.onLine);
  const period = 100_000;
  try {
    const stream = await whileReading(tarOf([], parts), either, (archive, abortSignal) =>
      docker.buildImage(archive, {
        t: tag,
        dockerfile: build.dockerfile,
        labels: { [baseLabel]: build.digest },
        networkmode: network,
        memory: limits.memoryBytes,
        memswap: limits.memoryBytes,
        cpuperiod: period,
        cpuquota: Math.round(limits.cpus * period),
        rm: true,
        forcerm: true,
        abortSignal,
      }),
    );
    await followEvents(stream, output.take);
  } catch (error) {
    build.signal?.throwIfAborted();
    if (timeout.aborted) throw tooLong(build.dockerfile);
    throw buildFailure(images, build.dockerfile, output.lines, error);
  } finally {
    await removeIntermediate(images, output.made, tag, build.onLine);
  }
}

/** Steps of a failed build, and of stages that were only copied from, would stay as images without a name. */
async function removeIntermediate(
  images: ImageSettings,
  made: readonly string[],
  tag: string,
  onLine: LineListener | undefined,
): Promise<void> {
  const kept = made.length === 0 ? undefined : (await inspectImage(images, tag))?.Id;
  for (const id of made.toReversed()) {
    if (kept?.startsWith(`sha256:${id}`)) continue;
    try {
      await images.docker.getImage(id).remove({ noprune: false });
    } catch (error) {
      // Another image is made from it, or it is gone.
      if (![404, 409].includes(engineStatus(error) ?? 0)) onLine?.(`The image ${id} stays: ${engineMessage(error)}`);
    }
  }
}
