// One stage from its claim to its end: launches, what became of lost ones, and retries by class.
import {
  ActivityCancellationType,
  CancelledFailure,
  isCancellation,
  proxyActivities,
  sleep,
} from '@temporalio/workflow';
import type { Activities } from '#activities/index.ts';
import { infrastructureRetriesMax, type StageOutcome } from '#core/outcome.ts';
import type { StagePlan } from '#core/plan.ts';
import type { Failure } from '#core/run.ts';
import { nodeQueue, poolQueue, type RunInput } from './messages.ts';
import { failureOfStep, StepFailed } from './step-failed.ts';

const collectMs = 3_600_000;

/** A launch that needs a new watcher this often has a watcher that fails, not workers that are restarted. */
const attachmentsMax = 100;

/** Waiting for an equal step is this activity retried by the server: no slot and no history events. */
const waiting = proxyActivities<Activities>({
  startToCloseTimeout: '10 minutes',
  heartbeatTimeout: '20 seconds',
  retry: { initialInterval: '250ms', maximumInterval: '15s' },
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
});

const control = proxyActivities<Activities>({
  startToCloseTimeout: '1 minute',
  heartbeatTimeout: '20 seconds',
  retry: { initialInterval: '250ms', maximumInterval: '15s', maximumAttempts: 40 },
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
});

interface Bounds {
  queue: string;
  scheduleToStart?: '15 seconds';
}

/** A fence belongs to a launch, so Temporal itself never repeats `runStage`: the loop below decides. */
async function launch(run: RunInput, stage: StagePlan, fence: number | null, bounds: Bounds): Promise<StageOutcome> {
  const { runStage } = proxyActivities<Activities>({
    taskQueue: bounds.queue,
    startToCloseTimeout: stage.timeoutMs + stage.graceMs + collectMs,
    ...(bounds.scheduleToStart === undefined ? {} : { scheduleToStartTimeout: bounds.scheduleToStart }),
    heartbeatTimeout: '25 seconds',
    retry: { maximumAttempts: 1 },
    cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    summary: fence === null ? stage.name : `${stage.name} (attached to launch ${fence})`,
  });
  return await runStage({ ...run, step: stage.name, fence });
}

type Launched = { outcome: StageOutcome } | { lost: Failure; drained: boolean };

/** Launches once and follows that launch over the deaths of its watchers, until it ended or is lost. */
async function followLaunch(run: RunInput, stage: StagePlan): Promise<Launched> {
  let bounds: Bounds = { queue: poolQueue(stage.pool) };
  let fence: number | null = null;
  for (let attachments = 0; ; attachments += 1) {
    try {
      return { outcome: await launch(run, stage, fence, bounds) };
    } catch (error) {
      if (isCancellation(error)) throw error;
      const refused = failureOfStep(error, stage.name);
      if (refused.class !== 'infrastructure') return { outcome: { status: 'failed', fence, failure: refused } };
    }
    const found = await control.inspectAttempt.executeWithOptions({ summary: `look for ${stage.name}` }, [
      { ...run, step: stage.name },
    ]);
    if (found.state === 'closed') return { outcome: found.outcome };
    if (found.state === 'lost') return { lost: lostFailure(stage, found.sentence), drained: found.drained };
    if (attachments === attachmentsMax) return { lost: lostFailure(stage, unwatchable(stage)), drained: false };
    fence = found.fence;
    bounds = { queue: nodeQueue(found.nodeId), scheduleToStart: '15 seconds' };
    await sleep('1 second', { summary: `attach to ${stage.name} again` });
  }
}

function unwatchable(stage: StagePlan): string {
  return `${stage.name} could not be watched to its end: ${attachmentsMax} attempts to attach to it failed.`;
}

function lostFailure(stage: StagePlan, sentence: string): Failure {
  return { class: 'infrastructure', sentence, step: stage.name, logTail: [], exitCode: null };
}

/** A full disk that kept a stage from starting would fail a whole queue in a moment, so it is put before a person. */
function isTroubleOfNode(launched: Launched, failure: Failure): boolean {
  if (failure.class === 'infrastructure') return true;
  const neverRan = 'outcome' in launched && launched.outcome.status === 'failed' && launched.outcome.started === false;
  return neverRan && failure.class === 'resources';
}

const repeatable = new Set<Failure['class']>(['user', 'resources', 'timeout', 'data']);

/**
 * Runs a stage to its end. Its own failures spend the stage's `retries`, lost launches a bounded budget of their own;
 * when that is spent, `askPerson` waits for a decision. Throws StepFailed when the stage failed for good. Answers the
 * label of the run whose result was taken, or null when the stage ran.
 */
export async function runStageToItsEnd(
  run: RunInput,
  stage: StagePlan,
  askPerson: (failure: Failure) => Promise<void>,
): Promise<string | null> {
  let retriesLeft = stage.retries;
  let lossesLeft = infrastructureRetriesMax;
  const reusedFrom = await claim(run, stage);
  if (reusedFrom !== null) return reusedFrom;
  for (;;) {
    const launched = await followLaunch(run, stage);
    if ('outcome' in launched && launched.outcome.status === 'succeeded') return null;
    if ('outcome' in launched && launched.outcome.status === 'stopped')
      throw new CancelledFailure('The run was stopped.');
    const failure = 'lost' in launched ? launched.lost : failureOfOutcome(launched.outcome);
    if ('lost' in launched && launched.drained) continue;
    if (isTroubleOfNode(launched, failure)) {
      if (lossesLeft === 0) {
        await askPerson(failure);
        lossesLeft = infrastructureRetriesMax;
      } else {
        lossesLeft -= 1;
        await sleep('2 seconds', { summary: `launch ${stage.name} again` });
      }
    } else if (retriesLeft > 0 && repeatable.has(failure.class)) {
      retriesLeft -= 1;
    } else {
      await control.closeStage.executeWithOptions({ summary: `${stage.name} failed` }, [
        { ...run, step: stage.name, failure },
      ]);
      throw new StepFailed(failure);
    }
  }
}

async function claim(run: RunInput, stage: StagePlan): Promise<string | null> {
  try {
    return await waiting.claimStep.executeWithOptions({ summary: `claim ${stage.name}` }, [
      { ...run, step: stage.name },
    ]);
  } catch (error) {
    if (isCancellation(error)) throw error;
    const failure = failureOfStep(error, stage.name);
    await control.closeStage.executeWithOptions({ summary: `${stage.name} failed` }, [
      { ...run, step: stage.name, failure },
    ]);
    throw new StepFailed(failure);
  }
}

function failureOfOutcome(outcome: StageOutcome): Failure {
  if (outcome.status !== 'failed') throw new Error(`A ${outcome.status} launch has no failure.`);
  return outcome.failure;
}
