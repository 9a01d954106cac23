import { DomainError } from '#core/errors.ts';
import type { LineListener } from '#environment/process/command.ts';
import { diskFull, engineFailure, engineMessage, type ImageSettings, isFullDisk } from './engine.ts';
import { followEvents, statusLine } from './engine-events.ts';
import { registryLogin } from './registry-login.ts';

export interface PullWatching {
  onLine?: LineListener | undefined;
  signal?: AbortSignal | undefined;
}

const permanent =
  /manifest( for \S+)? (unknown|not found)|not found|access( to the resource is)? denied|does not exist|no matching manifest|unauthorized|authentication required|no basic auth credentials|invalid reference|name unknown|toomanyrequests/i;

/**
 * Brings an image to the engine.
 *
 * @throws DomainError environment-unresolvable when the registry answers that it can not be had.
 */
export async function pullImage(
  { docker, loginsFile }: ImageSettings,
  reference: string,
  { onLine, signal }: PullWatching,
): Promise<void> {
  onLine?.(`pulls ${reference}`);
  try {
    const authconfig = await registryLogin(loginsFile ?? null, reference);
    const stream = await docker.pull(reference, {
      ...(authconfig === null ? {} : { authconfig }),
      ...(signal ? { abortSignal: signal } : {}),
    });
    await followEvents(stream, (event) => {
      const line = statusLine(event);
      if (line !== null) onLine?.(line);
    });
  } catch (error) {
    signal?.throwIfAborted();
    throw pullFailure(error, reference);
  }
}

/** What the registry says for good is a refusal; a registry that does not answer is trouble in the world. */
function pullFailure(error: unknown, reference: string): Error {
  const said = engineMessage(error);
  const doing = `the base image ${reference} was pulled`;
  if (isFullDisk(said)) return diskFull(doing);
  if (!permanent.test(said)) return engineFailure(error, doing);
  return new DomainError(
    'environment-unresolvable',
    `The base image ${reference} cannot be pulled: ${said}. Correct its name and digest, or give this server a login of its registry.`,
    [{ path: reference, message: said }],
  );
}
