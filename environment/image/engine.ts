// What this folder asks of a container engine, and what the engine's refusals mean.
import type Docker from 'dockerode';
import type { ImageInspectInfo } from 'dockerode';
import { DomainError } from '#core/errors.ts';

export interface ImageSettings {
  docker: Docker;
  /** The base of a project that names none; `{python}` stands for the minor version it asks for. */
  baseImage: string;
  /** What one build may use, whether it installs packages or runs a Dockerfile. */
  limits: { memoryBytes: number; cpus: number };
  /** `config.json` of the docker program, whose logins are used for pulling; null pulls without any. */
  loginsFile?: string | null;
  /** Makes sure of a network that keeps builds from this machine and its neighbours, and names it. Without it builds get a
   * network of their own that is not walled. */
  network?: (() => Promise<string>) | null;
}

export const buildTimeoutMs = 60 * 60_000;

/** Processes and threads of one build. */
export const buildPidsMax = 4_096;

/** Name prefix of every container that this folder starts, so that what a killed process left is found. */
export const buildContainerPrefix = 'assay-build-';

/** On a container that installs: the cache directory it works for, hashed. */
export const buildLabel = 'org.assay.build';

/** On an image: the environment key it holds. */
export const imageLabel = 'org.assay.image';

/** On an image: the digest of the Dockerfile and files that it was built from. */
export const baseLabel = 'org.assay.base';

export function engineStatus(error: unknown): number | undefined {
  return (error as { statusCode?: number }).statusCode;
}

export function engineMessage(error: unknown): string {
  const said = error instanceof Error ? error.message : String(error);
  return said.replace(/^\(HTTP code \d+\) [a-z ]+ - /, '').trim();
}

const fullDisk = /no space left on device|disk quota exceeded|\bENOSPC\b/i;

/** A full disk is told by its words, because it may be the engine or a program in a container that met it. */
export function isFullDisk(text: string): boolean {
  return fullDisk.test(text);
}

export function diskFull(doing: string): DomainError {
  return new DomainError(
    'resources-exhausted',
    `The disk was full while ${doing}. Free some space on that machine, for example with \`docker image prune\`, and retry.`,
  );
}

export function memoryExhausted(what: string, limitBytes: number): DomainError {
  return new DomainError(
    'resources-exhausted',
    `${what} needs more memory than the ${Math.round(limitBytes / 2 ** 20)} MiB that a build on this server may use. Raise ASSAY_DOCKER_BUILD_MEMORY_GIB, or ask for packages that come as wheels.`,
  );
}

/**
 * Trouble with the engine as one sentence: an ordinary error, which is tried again, or a DomainError for a full disk.
 *
 * @param doing for example `the environment was put into an image`.
 */
export function engineFailure(error: unknown, doing: string): Error {
  if (error instanceof DomainError) return error;
  const message = engineMessage(error);
  if (isFullDisk(message)) return diskFull(doing);
  const code = (error as NodeJS.ErrnoException).code;
  const isGone =
    ['ECONNREFUSED', 'ENOENT', 'ECONNRESET', 'EPIPE', 'EACCES', 'ENOTFOUND', 'ETIMEDOUT'].includes(code ?? '') ||
    /socket hang up/.test(message);
  return new Error(
    isGone
      ? `The Docker engine did not answer while ${doing}: ${message}.`
      : `The Docker engine failed while ${doing}: ${message}`,
    { cause: error },
  );
}

/** @throws what `engineFailure` makes of a failure of `ask`. */
export async function asking<T>(doing: string, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    throw engineFailure(error, doing);
  }
}

/** Undefined when the engine has no image of that name or id. */
export async function inspectImage({ docker }: ImageSettings, name: string): Promise<ImageInspectInfo | undefined> {
  try {
    return await docker.getImage(name).inspect();
  } catch (error) {
    if (engineStatus(error) === 404) return undefined;
    throw engineFailure(error, `the image ${name} was looked for`);
  }
}
