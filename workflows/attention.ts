// A run whose infrastructure budget is spent waits here for a person: retry or abort, an Update.
import { ApplicationFailure, condition, defineUpdate, setHandler } from '@temporalio/workflow';
import type { Failure } from '#core/run.ts';
import { attentionDaysMax, type Resolution, resolveUpdate } from './messages.ts';
import { StepFailed } from './step-failed.ts';

interface Attention {
  /** Returns when a person says retry; throws StepFailed on abort or when nobody answered in time. */
  wait: (failure: Failure) => Promise<void>;
}

/** `show` tells the world that the run needs a person, and with null that it goes on. */
export function createAttention(show: (failure: Failure | null) => Promise<void>): Attention {
  let waiters = 0;
  let answers = 0;
  let answer: Resolution | null = null;

  setHandler(
    defineUpdate<void, [Resolution]>(resolveUpdate),
    (resolution) => {
      answer = resolution;
      answers += 1;
    },
    {
      validator: (_resolution: Resolution) => {
        if (waiters === 0) {
          throw ApplicationFailure.nonRetryable(
            'The run does not wait for anybody: it was resolved or goes on.',
            'conflict',
          );
        }
      },
    },
  );

  return {
    async wait(failure) {
      const seen = answers;
      waiters += 1;
      try {
        await show(failure);
        const answered = await condition(() => answers > seen, `${attentionDaysMax} days`);
        if (!answered) throw new StepFailed(unanswered(failure));
        if (answer?.action === 'abort') throw new StepFailed(aborted(failure, answer.by));
      } finally {
        waiters -= 1;
      }
      await show(null);
    },
  };
}

function unanswered(failure: Failure): Failure {
  return { ...failure, sentence: `${failure.sentence} Nobody decided within ${attentionDaysMax} days.` };
}

function aborted(failure: Failure, by: string): Failure {
  return { ...failure, sentence: `${failure.sentence} Aborted by ${by}.` };
}
