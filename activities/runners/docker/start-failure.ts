// Why a container could not be started, in one sentence and with the right class.

import { DomainError } from '#core/errors.ts';
import type { StageSpec } from '#activities/runners/runner.ts';
import { hasStatus, isAway, wordsOf } from './engine.ts';

/** A refusal of what the stage asks for is a DomainError; all else is trouble of the node. */
export function explainStart(error: unknown, spec: StageSpec): Error {
  if (error instanceof DomainError) return error;
  const words = wordsOf(error);
  if (isAway(error)) {
    return new Error(`The Docker engine of this node does not answer (${words}). Is it running?`, { cause: error });
  }
  const { code, syscall } = error as NodeJS.ErrnoException;
  if (code === 'EACCES' && syscall === 'connect') {
    return new Error(`The worker may not use the Docker engine (${words}). Add its user to the group of the socket.`, {
      cause: error,
    });
  }
  if (/exec: "\/bin\/sh"/.test(words)) {
    const message = `The image ${spec.image} has no /bin/sh, which Assay starts commands with. Take an image that has a shell.`;
    return new DomainError('environment-unsupported', message);
  }
  if (hasStatus(error, 404) && /no such image/i.test(words)) {
    return new Error(`The image ${spec.image} is not on this node any more.`, { cause: error });
  }
  if (/could not select device driver|nvidia-container-cli|unresolvable CDI/i.test(words)) {
    return new Error(
      `The stage asks for a GPU, and the Docker engine of this node can not hand one out: ${words}. Is the NVIDIA Container Toolkit installed?`,
      { cause: error },
    );
  }
  if (error instanceof Error && !hasStatus(error, 400, 404, 409, 500)) return error;
  return new Error(`The Docker engine could not start the container: ${words}`, { cause: error });
}
