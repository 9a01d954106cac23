// The image below an environment: found on the engine, pulled by its digest, or built from the project's Dockerfile.
import type { ImageInspectInfo } from 'dockerode';
import { DomainError } from '#core/errors.ts';
import type { PythonRequest } from '#environment/python/python-request.ts';
import { defaultReference } from './default-base.ts';
import { buildBase, dockerfileDigest } from './dockerfile.ts';
import { asking, type ImageSettings, inspectImage } from './engine.ts';
import { type PullWatching, pullImage } from './pull.ts';

/** How a base is found again, on any machine. */
export interface BaseReference {
  kind: 'default' | 'image' | 'dockerfile';
  /** `NAME@sha256:…`, the name of an image that no registry has, or the path of a Dockerfile in the tree. */
  reference: string;
}

export interface Base extends BaseReference {
  /**
   * Its identity on every machine: the registry's digest, the image's own id where no registry has it, or the digest of
   * all that a Dockerfile is built from.
   */
  digest: string;
  /** Id on this engine. */
  imageId: string;
  layers: readonly string[];
  arch: string;
  /** Its own PATH. */
  searchPath: string;
  /** False when only a command that is given can be run in it. */
  hasCommand: boolean;
  /** How long its build from a Dockerfile took just now; null when it was there. */
  builtMs: number | null;
}

/** A context that has an engine. */
export interface ImageContext {
  cacheDir: string;
  images: ImageSettings;
}

export interface BaseChoice {
  /** The commit's tree. */
  root: string;
  image: string | null;
  dockerfile: string | null;
  python: PythonRequest;
}

/**
 * The base that a project asks for, or the server's default. Names that can move are resolved here and never again.
 *
 * @throws DomainError environment-unresolvable when it can not be had, environment-unsupported for an image of another
 * machine.
 */
export async function selectBase(context: ImageContext, choice: BaseChoice, watching: PullWatching): Promise<Base> {
  const { images } = context;
  const { root, image, dockerfile } = choice;
  if (dockerfile !== null) return await fromDockerfile(context, root, dockerfile, watching);
  if (image !== null) return await fromName(images, 'image', image, watching);
  return await fromName(images, 'default', defaultReference(images.baseImage, choice.python), watching);
}

/**
 * The base that an environment was recorded with, on this engine.
 *
 * @throws DomainError environment-unsupported when this engine has another image under that name.
 */
export async function findBase(
  context: ImageContext,
  recorded: BaseReference & { digest: string },
  openRoot: () => Promise<string>,
  watching: PullWatching,
): Promise<Base> {
  const { kind, reference, digest } = recorded;
  const base =
    kind === 'dockerfile'
      ? await fromDockerfile(context, await openRoot(), reference, watching)
      : await fromName(context.images, kind, reference, watching);
  if (base.digest === digest) return base;
  throw new DomainError(
    'environment-unsupported',
    `This run's base image is ${reference} with digest ${digest}; on this node it has digest ${base.digest}. Push the image to a registry and name it by its digest, or load the same image on every node.`,
  );
}

async function fromName(
  images: ImageSettings,
  kind: 'default' | 'image',
  name: string,
  watching: PullWatching,
): Promise<Base> {
  const found = (await inspectName(images, name)) ?? (await pullAndInspect(images, name, watching));
  const written = digestPattern.exec(name)?.[1];
  const registryDigest = written ?? digestInRegistry(found, name);
  const reference = registryDigest === undefined ? name : `${repositoryOf(name)}@${registryDigest}`;
  return await describe(images, found, { kind, reference }, registryDigest ?? found.Id);
}

async function fromDockerfile(
  { cacheDir, images }: ImageContext,
  root: string,
  dockerfile: string,
  watching: PullWatching,
): Promise<Base> {
  const digest = await dockerfileDigest(root, dockerfile);
  const { image, builtMs } = await buildBase(cacheDir, images, { root, dockerfile, digest, ...watching });
  return { ...(await describe(images, image, { kind: 'dockerfile', reference: dockerfile }, digest)), builtMs };
}

async function describe(
  images: ImageSettings,
  found: ImageInspectInfo,
  reference: BaseReference,
  digest: string,
): Promise<Base> {
  const { docker } = images;
  const engine = await engineArch(docker);
  if (found.Os !== 'linux' || found.Architecture !== engine) {
    throw new DomainError(
      'environment-unsupported',
      `The base image ${reference.reference} is for ${found.Os}/${found.Architecture}; the engine of this node runs linux/${engine}. Name the image of that platform.`,
    );
  }
  const variables = found.Config.Env ?? [];
  const path = variables.find((one) => one.startsWith('PATH='))?.slice('PATH='.length);
  return {
    ...reference,
    digest,
    imageId: found.Id,
    layers: found.RootFS.Layers ?? [],
    arch: found.Architecture,
    searchPath: path ?? '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    hasCommand: [found.Config.Cmd ?? [], found.Config.Entrypoint ?? []].flat().length > 0,
    builtMs: null,
  };
}

const archOfEngine = new WeakMap<ImageSettings['docker'], Promise<string>>();

async function engineArch(docker: ImageSettings['docker']): Promise<string> {
  const known = archOfEngine.get(docker) ?? asking('its version was asked', async () => (await docker.version()).Arch);
  archOfEngine.set(docker, known);
  try {
    return await known;
  } catch (error) {
    archOfEngine.delete(docker);
    throw error;
  }
}

/** Undefined when the engine lacks it. An image that was only loaded is found by its own id in place of a digest. */
async function inspectName(images: ImageSettings, name: string): Promise<ImageInspectInfo | undefined> {
  const found = await inspectImage(images, name);
  const id = digestPattern.exec(name)?.[1];
  if (found !== undefined || id === undefined) return found;
  const loaded = await inspectImage(images, id);
  const repository = repositoryOf(name);
  return loaded?.RepoTags?.some((tag) => repositoryOf(tag) === repository) ? loaded : undefined;
}

async function pullAndInspect(images: ImageSettings, name: string, watching: PullWatching): Promise<ImageInspectInfo> {
  await pullImage(images, name, watching);
  const found = await inspectName(images, name);
  if (found === undefined) throw new Error(`The engine pulled ${name} and does not have it.`);
  return found;
}

const digestPattern = /@(sha256:[0-9a-f]{64})$/;

function digestInRegistry({ RepoDigests }: ImageInspectInfo, name: string): string | undefined {
  const repository = repositoryOf(name);
  return (RepoDigests ?? []).find((one) => repositoryOf(one) === repository)?.split('@')[1];
}

/** A name without tag and digest, as the engine shows it: Docker Hub is left out. */
function repositoryOf(name: string): string {
  return name
    .replace(digestPattern, '')
    .replace(/:[\w.-]+$/, '')
    .replace(/^(index\.)?docker\.io\/(library\/)?/, '');
}
