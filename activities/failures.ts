// The one translation from what happened to what Temporal does about it, applied to every activity.
import { ApplicationFailure, Context } from '@temporalio/activity';
import { DomainError, type ErrorCode } from '#core/errors.ts';
import type { FailureClass } from '#core/run.ts';
import { isMistake } from './mistakes.ts';
import { StepRefusal } from './step-refusal.ts';

/** Which class a refusal has when it ends a step of a run. Unlisted codes are of the user's making. */
const classOfCode: Partial<Record<ErrorCode, FailureClass>> = {
  'environment-unsupported': 'environment',
  'environment-unresolvable': 'environment',
  'resources-exhausted': 'resources',
  'query-refused': 'data',
  'query-limit': 'data',
  'as-of-in-future': 'data',
  'table-not-found': 'data',
  'schema-drift': 'data',
  'dataset-not-found': 'data',
  'data-changed': 'data',
  'data-gone': 'data',
  'blob-missing': 'platform',
  'blob-corrupt': 'platform',
  'not-reproducible': 'data',
};

export function failureClassOf(code: ErrorCode): FailureClass {
  return classOfCode[code] ?? 'user';
}

function toTemporalFailure(error: unknown): unknown {
  if (error instanceof DomainError) {
    const logTail = error instanceof StepRefusal ? error.logTail : [];
    const details = [{ class: failureClassOf(error.code), details: error.details, logTail }];
    return ApplicationFailure.create({ message: error.message, type: error.code, nonRetryable: true, details });
  }
  if (isMistake(error)) {
    const { message, stack } = error as Error;
    const sentence = `Assay made a mistake: ${message}`;
    return ApplicationFailure.create({
      message: sentence,
      type: 'platform',
      nonRetryable: true,
      details: [{ class: 'platform', stack }],
    });
  }
  return error;
}

type Activity<A extends unknown[], R> = (...args: A) => Promise<R>;

/** Beats by a timer while the activity runs; short activities end before the first beat and cost nothing. */
const beatMs = 5_000;

/** Translates refusals and keeps the activity's heartbeat. */
export function guarded<A extends unknown[], R>(activity: Activity<A, R>): Activity<A, R> {
  return async (...args) => {
    const context = currentContext();
    const beat = setInterval(() => context?.heartbeat(), beatMs);
    try {
      return await activity(...args);
    } catch (error) {
      throw toTemporalFailure(error);
    } finally {
      clearInterval(beat);
    }
  };
}

/**
 * The same for a step that installs, fetches or queries for minutes and whose work is worth something to the next run:
 * a cancelled run does not wait for it. What still goes on writes nothing that a closed execution would show.
 */
export function abandonable<A extends unknown[], R>(activity: Activity<A, R>): Activity<A, R> {
  return guarded(async (...args) => {
    const work = activity(...args);
    const cancelled = currentContext()?.cancelled;
    if (cancelled === undefined) return await work;
    work.catch(() => undefined);
    return await Promise.race([work, cancelled]);
  });
}

/** Activities are plain functions and can be called without Temporal, which tests do. */
export function currentContext(): Context | null {
  try {
    return Context.current();
  } catch (error) {
    if (error instanceof Error && error.message.includes('Activity context not initialized')) return null;
    throw error;
  }
}
