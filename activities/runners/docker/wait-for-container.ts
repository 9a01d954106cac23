import { constants, type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import type Docker from 'dockerode';
import { type Launch, readExit } from '#activities/runners/launch-state.ts';
import type { Python } from '#activities/runners/python-program.ts';
import type { StageExit } from '#activities/runners/runner.ts';
import { createBell } from '#activities/runners/wait-for-exit.ts';
import { finishLog, keepCarried } from './carrier.ts';
import { describeExit } from './container-exit.ts';
import { ask, hasStatus, isAway, orNull } from './engine.ts';
import { readReport } from './entrypoint.ts';
import { isStarting, noteEnded, readLogEnd, readStop, writeExitOnce } from './launch-files.ts';

interface WaitDeps {
  docker: Docker;
  python: Python;
}

type State = Docker.ContainerInspectInfo['State'];

/** The end of the output tells of the end at once; this finds out where nothing tells. */
const lookMs = 2_000;
/** From the end of the output to the engine's notice of it. */
const noticeMs = 5_000;

/**
 * Resolves with the exit, which the first waiter who sees the end writes down for ever. Kills a stage whose grace is
 * over, whoever asked it to end. An engine that is away is waited for. Rejects with the reason of `abort`.
 */
export async function waitForContainer(deps: WaitDeps, launch: Launch, abort?: AbortSignal): Promise<StageExit> {
  const bell = createBell(launch, abort);
  const output = await holdOutput(launch);
  let lookAt = 0;
  try {
    for (;;) {
      abort?.throwIfAborted();
      const rung = bell.next();
      const exit = await readExit(launch);
      if (exit) return exit;
      const stop = await readStop(launch);
      const isOver = (await readLogEnd(launch)) !== null;
      const isDue = stop !== null && Date.now() >= stop.killAtMs;
      if (isOver || isDue || Date.now() >= lookAt) {
        lookAt = Date.now() + lookMs;
        const ended = await unlessAway(() => look(deps, launch, { isOver, isDue }));
        if (ended) return ended;
      }
      await rung;
    }
  } finally {
    bell.close();
    await output?.close();
  }
}

/** What is written while nobody carries it stays in the pipe for as long as somebody has it open, at its end too. */
async function holdOutput(launch: Launch): Promise<FileHandle | null> {
  const path = join(launch.directory, 'io', 'output');
  return await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });
}

/** Null where the engine can not tell now: the next look asks again, for as long as it takes. */
async function unlessAway<T>(looking: () => Promise<T | null>): Promise<T | null> {
  try {
    return await looking();
  } catch (error) {
    if (isAway(error)) return null;
    throw error;
  }
}

async function look(
  deps: WaitDeps,
  launch: Launch,
  { isOver, isDue }: { isOver: boolean; isDue: boolean },
): Promise<StageExit | null> {
  if (isOver) await untilNoticed(deps.docker, launch);
  const info = await orNull(ask(() => deps.docker.getContainer(launch.name).inspect()));
  const state = info?.State ?? null;
  if (await hasEnded(launch, state)) return await conclude(deps, launch, state);
  await keepCarried(deps.python, launch);
  if (isDue) await kill(deps.docker, launch);
  return null;
}

/** A container that does not exist or was only made has ended, unless somebody is still at its start. */
async function hasEnded(launch: Launch, state: State | null): Promise<boolean> {
  if (state === null || state.Status === 'created') return !(await isStarting(launch));
  return state.Status === 'exited' || state.Status === 'dead';
}

/** The kernel closes the output a moment before the engine knows. */
async function untilNoticed(docker: Docker, launch: Launch): Promise<void> {
  const bound = AbortSignal.timeout(noticeMs);
  try {
    await ask(() => docker.getContainer(launch.name).wait({ abortSignal: bound }), noticeMs);
  } catch (error) {
    if (!isAway(error) && !hasStatus(error, 404, 409) && !bound.aborted) throw error;
  }
}

async function kill(docker: Docker, launch: Launch): Promise<void> {
  try {
    await ask(() => docker.getContainer(launch.name).kill({ signal: 'SIGKILL' }));
  } catch (error) {
    // Ended meanwhile, or the engine went away: the next look tells.
    if (!hasStatus(error, 404, 409) && !isAway(error)) throw error;
  }
}

async function conclude({ docker, python }: WaitDeps, launch: Launch, state: State | null): Promise<StageExit> {
  const neverStarted = state === null || state.Status === 'created';
  if (neverStarted) await noteEnded(launch);
  // A container that was only made must not be started any more by whoever was at it.
  if (state?.Status === 'created') await orNull(ask(() => docker.getContainer(launch.name).remove({ force: true })));
  const [log, report, stop] = await Promise.all([
    finishLog(python, launch),
    readReport(join(launch.directory, 'io', 'report')),
    readStop(launch),
  ]);
  const exit = describeExit({
    state: neverStarted ? null : state,
    report,
    wasAsked: stop !== null,
    log,
    now: new Date().toISOString(),
  });
  return await writeExitOnce(launch, exit);
}
