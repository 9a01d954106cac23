// How a failed step leaves the middle of the story; the run workflow turns it into its result.
import { ActivityFailure, ApplicationFailure } from '@temporalio/workflow';
import type { Failure, FailureClass } from '#core/run.ts';

export class StepFailed extends Error {
  readonly failure: Failure;

  constructor(failure: Failure) {
    super(failure.sentence);
    this.name = 'StepFailed';
    this.failure = failure;
  }
}

/** A refusal of an activity carries its class in the details; everything else is trouble in the world. */
export function failureOfStep(error: unknown, step: string): Failure {
  const cause = error instanceof ActivityFailure ? error.cause : error;
  const refused = cause instanceof ApplicationFailure && cause.nonRetryable === true;
  const details = refused
    ? (cause.details?.[0] as { class?: FailureClass; logTail?: string[] } | undefined)
    : undefined;
  const message = cause instanceof Error ? cause.message : String(cause);
  return {
    class: details?.class ?? (refused ? 'platform' : 'infrastructure'),
    sentence: refused ? message : `The step could not be completed: ${message}.`.replaceAll('..', '.'),
    step,
    logTail: details?.logTail ?? [],
    exitCode: null,
  };
}
