import { DomainError } from '#core/errors.ts';
import type { Failure } from '#core/run.ts';
import { failureClassOf } from '#activities/failures.ts';

/**
 * Why nothing of a stage ran: a refusal is the stage's own, everything else is trouble of the node. A full disk is told
 * by its words too, because it may be a program of ours that met it.
 */
export function launchFailure(where: { node: string; stage: string }, error: unknown): Failure {
  return { ...causeOf(where, error), step: where.stage, logTail: [], exitCode: null };
}

function causeOf(
  { node, stage }: { node: string; stage: string },
  error: unknown,
): Pick<Failure, 'class' | 'sentence'> {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof DomainError) return { class: failureClassOf(error.code), sentence: message };
  if ((error as NodeJS.ErrnoException).code === 'ENOSPC' || /No space left on device|ENOSPC/i.test(message)) {
    const sentence = `The disk of node ${node} is full, so ${stage} could not be started. Free some space there.`;
    return { class: 'resources', sentence };
  }
  return { class: 'infrastructure', sentence: `${stage} could not be launched on node ${node}: ${message}` };
}
