// One launch of a stage, from its attempt's row to its end, on the node that runs it.
import type { Determinism } from '#core/determinism.ts';
import { DomainError } from '#core/errors.ts';
import { failureOf } from '#core/failure.ts';
import { hardwareOfStage } from '#core/hardware.ts';
import type { StageOutcome } from '#core/outcome.ts';
import type { Stage } from '#core/project.ts';
import type { Failure } from '#core/run.ts';
import {
  type Attempt,
  type AttemptEnd,
  closeAttempt,
  getAttempt,
  isOpenAttempt,
  markAttemptRunning,
  openAttempt,
  reasonToStop,
} from '#db/attempts.ts';
import { succeedAttempt } from '#db/outputs.ts';
import { loadRun } from '#db/run-facts.ts';
import { waitAgain } from '#db/steps.ts';
import { hashToken } from '#db/tokens.ts';
import type { StageId } from './claim-step.ts';
import { currentContext, failureClassOf } from './failures.ts';
import { outcomeOf } from './inspect-attempt.ts';
import { persevere } from './persevere.ts';
import type { StageExit, StageHandle } from './runners/runner.ts';
import { restoredLine } from './stage/checkpoints/restore-checkpoints.ts';
import { type CheckpointWatch, watchCheckpoints } from './stage/checkpoints/watch-checkpoints.ts';
import { type Collected, collectStageOutputs } from './stage/collect.ts';
import { readBackDeterminism } from './stage/determinism.ts';
import { readDiskStop } from './stage/disk-stop.ts';
import { launchFailure } from './stage/launch-failure.ts';
import { launchStage } from './stage/launch.ts';
import { type LogPump, startLogPump } from './stage/log-pump.ts';
import { openStageSecrets, stageToken } from './stage/secrets.ts';
import type { StageDeps, Watch } from './stage/watch.ts';
import { removeWorkspace, workspaceOf } from './stage/workspace.ts';

export interface StageInput extends StageId {
  /** Null opens a new attempt; a number attaches to that launch on this node. */
  fence: number | null;
}

export async function runStage(deps: StageDeps, input: StageInput): Promise<StageOutcome> {
  const asked = currentContext()?.cancellationSignal;
  const leaving = deps.leaving.signal();
  const abort = asked === undefined ? leaving : AbortSignal.any([asked, leaving]);
  const loaded = await persevere(() => loadRun(deps.db, input.runId));
  const { config } = loaded.run;
  const stage = config?.stages.find(({ name }) => name === input.step);
  if (config === null || stage === undefined) throw new TypeError(`The run has no stage ${input.step}.`);
  const taken = await persevere(() => takeAttempt(deps, input, stage));
  if (taken === null) return { status: 'stopped' };
  try {
    return await deps.watched.alone(taken.launch, abort, async (mayWatch) => {
      // An earlier watcher of this launch may have recorded its end while it was asked to let go.
      const attempt = (await persevere(() => getAttempt(deps.db, taken))) ?? taken;
      if (!isOpenAttempt(attempt)) return outcomeOf(attempt);
      const space = workspaceOf(deps.workDir, attempt.launch, config, stage);
      return await watchLaunch({ deps, loaded, config, stage, attempt, space, secrets: {}, abort: mayWatch });
    });
  } finally {
    // The permit that stands for it ends with this activity.
    deps.slots.uncover(taken.launch);
  }
}

/** The attempt's row is there before anything starts, so that whatever starts can be found. */
async function takeAttempt(deps: StageDeps, input: StageInput, stage: Stage): Promise<Attempt | null> {
  if (input.fence !== null) return (await getAttempt(deps.db, { ...input, fence: input.fence })) ?? null;
  const wanted = stage.resources.accelerators?.count ?? 0;
  const provisional = `${input.runId}.${input.step}.pending`;
  const devices = deps.slots.take(provisional, wanted);
  if (devices === null)
    throw new Error(`Node ${deps.node.id} has no ${wanted} free devices although it has a free slot.`);
  try {
    const attempt = await openAttempt(deps.db, {
      ...input,
      nodeId: deps.node.id,
      pool: deps.node.pool,
      devices,
      tokenHashOf: (launch) => hashToken(stageToken(deps.secretsKey, launch)),
      leaseMs: deps.node.leaseMs,
      hardware: hardwareOfStage(deps.node.hardware, devices),
      launchOf: (opened) => `${input.runId}.${input.step}.${opened}`,
    });
    if (attempt !== null) deps.slots.rename(provisional, attempt.launch);
    return attempt;
  } finally {
    deps.slots.free(provisional);
  }
}

async function watchLaunch(watch: Watch): Promise<StageOutcome> {
  const { deps, attempt, loaded, stage } = watch;
  let handle: StageHandle;
  try {
    watch.secrets = await openStageSecrets(deps, loaded.project.id, stage);
    handle = (await deps.runner.attach(attempt.launch)) ?? (await launchStage(watch));
    await persevere(() => markAttemptRunning(deps.db, attempt));
  } catch (error) {
    if (watch.abort.aborted) throw error;
    return await failToLaunch(watch, error);
  }
  const token = stageToken(deps.secretsKey, attempt.launch);
  const masked = [token, ...Object.values(watch.secrets)];
  const { restoredFrom } = watch.attempt;
  const heading = restoredFrom === null ? '' : restoredLine(restoredFrom);
  const pump = await persevere(() => startLogPump(deps, attempt, handle, masked, heading));
  const checkpoints = await persevere(() => watchCheckpoints(watch));
  const carried = { pump, checkpoints };
  const timer = createDeadline(attempt, stage);
  try {
    const ended = await Promise.race([handle.wait(watch.abort), timer.over]);
    if (ended !== 'over') return await conclude(watch, handle, carried, ended, false);
    await checkpoints.beforeStop(stage.graceMs);
    const askedAt = new Date().toISOString();
    await handle.signal('terminate');
    const exit = await handle.wait(watch.abort);
    // It may have ended in time while nobody watched.
    return await conclude(watch, handle, carried, exit, exit.finishedAt >= askedAt);
  } catch (error) {
    if (!watch.abort.aborted) throw error;
    return await letGo(watch, handle, carried);
  } finally {
    timer.clear();
    await Promise.all([pump.abandon(), checkpoints.abandon()]);
  }
}

/** What is carried from the stage to where people and later attempts find it. */
interface Carried {
  pump: LogPump;
  checkpoints: CheckpointWatch;
}

/** The time over which a stage may run counts from its first start, whoever watches it now. */
function createDeadline(attempt: Attempt, stage: Stage) {
  const startedAt = attempt.startedAt?.getTime() ?? Date.now();
  const leftMs = Math.max(0, startedAt + stage.timeoutMs - Date.now());
  let timer: NodeJS.Timeout | undefined;
  const over = new Promise<'over'>((resolve) => {
    // A longer delay than this overflows the timer and would fire at once; no stage runs for 24 days unwatched.
    timer = setTimeout(() => resolve('over'), Math.min(leftMs, 2 ** 31 - 1));
  });
  return { over, clear: () => clearTimeout(timer) };
}

/** The stage ended by itself or for its time: store what it produced, then record how it ended. */
async function conclude(
  watch: Watch,
  handle: StageHandle,
  { pump, checkpoints }: Carried,
  exit: StageExit,
  timedOut: boolean,
): Promise<StageOutcome> {
  const { deps, attempt } = watch;
  const succeeded = exit.reason === 'exited' && exit.code === 0 && !timedOut && !exit.outOfMemory;
  const [{ collected, refusal }] = await Promise.all([
    succeeded ? collect(watch) : { collected: null, refusal: null },
    persevere(() => pump.finish()),
    checkpoints.finish(exit, lastCheckpointMs),
  ]);
  const failure =
    refusal ??
    (succeeded ? null : await failureOfDisk(watch, pump.tail())) ??
    failureOfExit(watch, exit, timedOut, collected?.missing ?? [], pump.tail());
  const determinism = await persevere(() => readBackDeterminism(watch.space, watch.stage));
  const end = endOf(
    exit,
    [...checkpoints.notes(), ...(collected?.notes ?? []), ...(determinism?.notes ?? [])],
    determinism,
  );
  const recorded =
    failure === null && collected !== null
      ? await persevere(() => succeedAttempt(deps.db, attempt, collected, end))
      : await persevere(() => closeAttempt(deps.db, attempt, { ...end, status: 'failed', failure }));
  if (failure?.class === 'infrastructure') await afterTrouble(watch);
  await forget(watch, handle);
  // Recorded before: by this call, whose answer was lost with a connection, or by whoever closed the run.
  if (!recorded) return outcomeOf((await persevere(() => getAttempt(deps.db, attempt))) ?? attempt);
  return failure === null
    ? { status: 'succeeded', fence: attempt.fence }
    : { status: 'failed', fence: attempt.fence, failure, started: exit.reason !== 'launch-failed' };
}

/** The last checkpoints of a stage that ended are waited for so long; a node that goes has less time. */
const lastCheckpointMs = 600_000;
const lastCheckpointOfLeavingMs = 60_000;

/** A disk that is full for longer than this takes the stage's result with it. */
const collectPatienceMs = 300_000;

type Collecting = { collected: Collected; refusal: null } | { collected: null; refusal: Failure };

/** What the stage produced, or why it can not be kept, which is the stage's failure and not the end of the world. */
async function collect({ deps, space, config, stage }: Watch): Promise<Collecting> {
  const refuse = (failureClass: Failure['class'], sentence: string): Collecting => ({
    collected: null,
    refusal: { class: failureClass, sentence, step: stage.name, logTail: [], exitCode: 0 },
  });
  try {
    const store = () => collectStageOutputs(deps, space, config, stage);
    return { collected: await persevere(store, collectPatienceMs), refusal: null };
  } catch (error) {
    if (error instanceof DomainError) return refuse(failureClassOf(error.code), error.message);
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    return refuse('resources', `${stage.name} exited 0, but its outputs could not be stored: the disk is full.`);
  }
}

/** The guard of the node's disk killed it. */
async function failureOfDisk({ space, stage }: Watch, logTail: readonly string[]): Promise<Failure | null> {
  const sentence = await persevere(() => readDiskStop(space.folder));
  return sentence === null
    ? null
    : {
        class: 'resources',
        sentence: `${stage.name} ${sentence}`,
        step: stage.name,
        logTail: [...logTail],
        exitCode: null,
      };
}

function failureOfExit(
  { deps, stage }: Watch,
  exit: StageExit,
  timedOut: boolean,
  missingOutputs: readonly string[],
  logTail: readonly string[],
): Failure | null {
  if (exit.reason === 'launch-failed')
    return launchFailure({ node: deps.node.id, stage: stage.name }, new Error(exit.detail ?? 'nobody knows why'));
  const { memoryGib } = stage.resources;
  return failureOf({
    stage: stage.name,
    code: exit.code,
    signal: exit.signal,
    outOfMemory: exit.outOfMemory,
    memoryLimitBytes: memoryGib === null ? null : memoryGib * 2 ** 30,
    peakMemoryBytes: exit.peakMemoryBytes,
    timedOut,
    timeoutMs: stage.timeoutMs,
    startError: null,
    vanished: exit.reason === 'vanished',
    missingOutputs,
    logTail,
  });
}

function endOf(exit: StageExit, notes: readonly string[], determinism: Determinism | null): Omit<AttemptEnd, 'status'> {
  const { logBytes, logDroppedBytes, leftoverProcesses, detail } = exit;
  return {
    exitCode: exit.code,
    signal: exit.signal,
    peakMemoryBytes: exit.peakMemoryBytes,
    cpuSeconds: exit.cpuSeconds,
    facts: {
      logBytes,
      logDroppedBytes,
      leftoverProcesses,
      detail,
      notes,
      started: exit.reason !== 'launch-failed',
      ...(determinism && { determinism }),
    },
  };
}

/** Nothing runs yet: a refusal is the stage's failure, trouble of this node counts against the infrastructure. */
async function failToLaunch(watch: Watch, error: unknown): Promise<StageOutcome> {
  const { deps, attempt, stage } = watch;
  const failure = launchFailure({ node: deps.node.id, stage: stage.name }, error);
  const facts = { started: false };
  await persevere(() => closeAttempt(deps.db, attempt, { status: 'failed', failure, facts }));
  if (failure.class === 'infrastructure' || failure.class === 'resources') await afterTrouble(watch);
  await forget(watch, await deps.runner.attach(attempt.launch));
  return { status: 'failed', fence: attempt.fence, failure, started: false };
}

/**
 * The activity was cancelled. Postgres says whether the stage has to stop; when it does not answer, or says that the
 * stage is wanted, the stage is left running for whoever attaches next.
 */
async function letGo(watch: Watch, handle: StageHandle, { pump, checkpoints }: Carried): Promise<never> {
  const { deps, attempt, abort } = watch;
  const details = currentContext()?.cancellationDetails;
  const asked = details?.cancelRequested === true ? 'cancelled' : null;
  const why = asked ?? (await reasonToStop(deps.db, attempt).catch(() => null));
  if (why !== null) {
    const exit = await stopStage(watch, handle, checkpoints, null);
    await Promise.all([pump.finish().catch(() => undefined), checkpoints.finish(exit, lastCheckpointMs)]);
    await persevere(() => closeAttempt(deps.db, attempt, { status: 'cancelled', facts: { why } }));
    await forget(watch, handle);
  } else if (deps.leaving.signal().aborted) {
    const exit = await stopStage(watch, handle, checkpoints, deps.leaving.killAfterMs());
    await Promise.all([pump.finish().catch(() => undefined), checkpoints.finish(exit, lastCheckpointOfLeavingMs)]);
    const failure = drained(watch);
    await persevere(async () => {
      await closeAttempt(deps.db, attempt, { status: 'lost', failure, facts: { drained: true } });
      await waitAgain(deps.db, attempt);
    }, 10_000);
    await forget(watch, handle);
  }
  throw abort.reason;
}

/** The stage is not to blame, so it is launched again; meanwhile it waits like any other. */
async function afterTrouble({ deps, attempt }: Watch): Promise<void> {
  await persevere(() => waitAgain(deps.db, attempt));
  await persevere(() => deps.afterTrouble());
}

function drained({ deps, stage }: Watch): Failure {
  const sentence = `Node ${deps.node.id} was drained or stopped while it ran ${stage.name}; it starts again elsewhere or later.`;
  return { class: 'infrastructure', sentence, step: stage.name, logTail: [], exitCode: null };
}

async function stopStage(
  { stage }: Watch,
  handle: StageHandle,
  checkpoints: CheckpointWatch,
  killAfterMs: number | null,
): Promise<StageExit> {
  await checkpoints.beforeStop(Math.min(stage.graceMs, killAfterMs ?? stage.graceMs));
  await handle.signal('terminate');
  const timer =
    killAfterMs === null ? null : setTimeout(() => void handle.signal('kill').catch(() => undefined), killAfterMs);
  const exit = await handle.wait();
  if (timer !== null) clearTimeout(timer);
  return exit;
}

/** The record stands, so the launch and its directory may go; what is left after a death here, the reconciler removes. */
async function forget(watch: Watch, handle: StageHandle | null): Promise<void> {
  await handle?.remove();
  await removeWorkspace(watch.deps.workDir, watch.attempt.launch);
  watch.deps.slots.free(watch.attempt.launch);
}
