// A run, as the picture in ARCHITECTURE.md: what happens next, and nothing else. No I/O, no clock, no database.
import {
  ActivityCancellationType,
  allHandlersFinished,
  CancellationScope,
  condition,
  isCancellation,
  proxyActivities,
} from '@temporalio/workflow';
import type { Activities } from '#activities/index.ts';
import type { Plan, StagePlan } from '#core/plan.ts';
import type { Failure } from '#core/run.ts';
import { createAttention } from './attention.ts';
import { environmentQueue, type RunInput, type RunResult } from './messages.ts';
import { runStageToItsEnd } from './stage.ts';
import { failureOfStep, StepFailed } from './step-failed.ts';
import { createStory, type Story } from './story.ts';

/** Steps on the control queue beat by a timer, so a dead worker is noticed whatever the step's own bound is. */
const steps = proxyActivities<Activities>({
  startToCloseTimeout: '2 hours',
  heartbeatTimeout: '20 seconds',
  retry: { initialInterval: '250ms', maximumInterval: '15s', maximumAttempts: 12 },
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
});

/** The record of the end must be written whatever the world is like, so it is tried for as long as it takes. */
const last = proxyActivities<Activities>({
  startToCloseTimeout: '1 minute',
  heartbeatTimeout: '20 seconds',
  retry: { initialInterval: '250ms', maximumInterval: '30s' },
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
});

export async function run(input: RunInput): Promise<RunResult> {
  const story = createStory();
  const attention = createAttention(async (failure) => {
    story.status(failure === null ? 'running' : 'needs-attention');
    story.tell('Attention', failure === null ? null : failure.sentence);
    const summary = failure === null ? 'go on' : 'ask a person';
    await last.showAttention.executeWithOptions({ summary }, [{ ...input, sentence: failure?.sentence ?? null }]);
  });

  /** Trouble in the world that outlasts the retries is put before a person; a refusal ends the run. */
  async function insist<T>(step: string, act: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await act();
      } catch (error) {
        if (isCancellation(error) || error instanceof StepFailed) throw error;
        const failure = failureOfStep(error, step);
        if (failure.class !== 'infrastructure') throw new StepFailed(failure);
        await attention.wait(failure);
      }
    }
  }

  try {
    const resolved = await insist('resolve-commit', () =>
      steps.resolveCommit.executeWithOptions({ summary: 'find the commit and what it asks for' }, [input]),
    );
    if (resolved.stopped) return await finish(input, story, 'cancelled', null);
    story.commit(resolved.commit);
    story.tell('Run', resolved.lines.run);
    story.tell('Commit', resolved.lines.commit);
    if (resolved.model !== null) story.model(resolved.model);
    const { plan } = resolved;

    await all([
      insist('build-environment', async () => {
        story.tell(
          'Environment',
          await steps.buildEnvironment.executeWithOptions(
            { summary: 'pin and install its packages', ...placeOf(plan) },
            [input],
          ),
        );
      }),
      plan.data
        ? insist('load-data', async () => {
            story.tell('Data', await steps.loadData.executeWithOptions({ summary: 'pin its data' }, [input]));
          })
        : Promise.resolve(),
    ]);

    await runStages(plan, story, (stage) => runStageToItsEnd(input, stage, attention.wait));

    if (plan.only !== undefined) {
      story.tell('Result', `${plan.only} ran again`);
      return await CancellationScope.nonCancellable(() => finish(input, story, 'succeeded', null));
    }
    await insist('persist', () => steps.persist.executeWithOptions({ summary: 'write the manifest' }, [input]));
    const gate = await insist('gate', () => steps.gate.executeWithOptions({ summary: 'judge the metrics' }, [input]));
    story.gate(gate.result);
    story.tell('Result', gate.line);
    if (plan.promote === 'when-passed' && gate.result === 'passed') {
      story.tell(
        'Result',
        `${gate.line} ${await insist('promote', () => steps.promote.executeWithOptions({ summary: 'move the alias' }, [input]))}`,
      );
    }
    if (input.reproduces === true) story.tell('Verdict', await insist('verdict', () => judge(input, null)));
    // From here on the run has succeeded: a cancellation that comes later finds nothing to stop.
    return await CancellationScope.nonCancellable(() => finish(input, story, 'succeeded', null, gate.result));
  } catch (error) {
    if (isCancellation(error)) {
      await CancellationScope.nonCancellable(() => finish(input, story, 'cancelled', null));
      throw error;
    }
    const failure = error instanceof StepFailed ? error.failure : failureOfStep(error, 'run');
    return await CancellationScope.nonCancellable(async () => {
      if (input.reproduces === true) await tellVerdictOnFailure(input, story, failure);
      return await finish(input, story, 'failed', failure);
    });
  }
}

async function judge(input: RunInput, failure: Failure | null): Promise<string | null> {
  const { runId, execution } = input;
  const summary = 'compare with the original';
  return await steps.verdict.executeWithOptions({ summary }, [{ runId, execution, failure }]);
}

/** A reproduction that ends badly may have a verdict all the same; trouble with it does not keep the run from ending. */
async function tellVerdictOnFailure(input: RunInput, story: Story, failure: Failure): Promise<void> {
  try {
    story.tell('Verdict', await judge(input, failure));
  } catch (error) {
    story.tell('Verdict', `none: ${failureOfStep(error, 'verdict').sentence}`);
  }
}

/** On the nodes of the pool that the first stage goes to. */
function placeOf({ stages }: Plan): { taskQueue?: string } {
  return stages[0] === undefined ? {} : { taskQueue: environmentQueue(stages[0].pool) };
}

/** Waits for every branch before the first failure is thrown, so that nothing runs on behind a closed run. */
async function all(branches: Array<Promise<unknown>>): Promise<void> {
  const settled = await Promise.allSettled(branches);
  const reasons = settled.flatMap((branch) => (branch.status === 'rejected' ? [branch.reason as unknown] : []));
  const cancelled = reasons.find((reason) => isCancellation(reason));
  if (reasons.length > 0) throw cancelled ?? reasons[0];
}

/** Starts each stage when the stages it needs have succeeded; after a failure nothing new starts. */
async function runStages(
  plan: Plan,
  story: Story,
  runStage: (stage: StagePlan) => Promise<string | null>,
): Promise<void> {
  const ends = new Map<string, Promise<boolean>>();
  let failed: { error: unknown } | null = null;
  const done: string[] = [];
  for (const stage of plan.stages) {
    const needs = stage.needs.map((name) => ends.get(name) ?? Promise.resolve(true));
    const end = Promise.all(needs).then(async (ready) => {
      if (failed !== null || ready.includes(false)) return false;
      try {
        const reusedFrom = await runStage(stage);
        done.push(reusedFrom === null ? stage.name : `${stage.name} (reused from ${reusedFrom})`);
        story.tell('Stages', `${done.join(', ')} (${done.length} of ${plan.stages.length})`);
        return true;
      } catch (error) {
        if (failed === null || isCancellation(error)) failed = { error };
        return false;
      }
    });
    ends.set(stage.name, end);
  }
  await Promise.all(ends.values());
  throwFailed(failed);
}

function throwFailed(failed: { error: unknown } | null): void {
  if (failed !== null) throw failed.error;
}

async function finish(
  input: RunInput,
  story: Story,
  status: RunResult['status'],
  failure: Failure | null,
  gate: RunResult['gate'] = null,
): Promise<RunResult> {
  story.status(status);
  if (failure !== null) story.tell('Result', `failed (${failure.class}): ${failure.sentence}`);
  if (status === 'cancelled') story.tell('Result', 'cancelled');
  await last.finishRun.executeWithOptions({ summary: `record: ${status}` }, [{ ...input, status, failure }]);
  await condition(allHandlersFinished);
  return { status, gate, sentence: failure?.sentence ?? null };
}
