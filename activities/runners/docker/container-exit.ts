// From what the engine, the entrypoint and the worker know of the end to the one exit that is kept.

import { constants } from 'node:os';
import type { ContainerInspectInfo } from 'dockerode';
import type { StageExit } from '#activities/runners/runner.ts';
import type { Report } from './entrypoint.ts';

export interface EndFacts {
  /** Null where the container is gone. */
  state: ContainerInspectInfo['State'] | null;
  report: Report | null;
  /** The worker asked it to end. */
  wasAsked: boolean;
  log: { logBytes: number; logDroppedBytes: number };
  /** ISO 8601; stands in where the engine knows no times. */
  now: string;
}

const signalNames = new Map(Object.entries(constants.signals).map(([name, number]) => [number, name]));
const signalOffset = 128;
const detailCharactersMax = 1000;

/**
 * The engine's code decides, and a report that disagrees is not believed. Trouble of the infrastructure is an end without
 * a report that nobody asked for and that was not for memory, whatever its code: a restarted engine knows codes that never
 * were. So is the end of a stage that somebody else asked to end, which an engine does with what ran when it comes back.
 * As in a shell, a code above 128 is a signal; a command that exits with such a code by itself can not be told apart.
 */
export function describeExit({ state, report: given, wasAsked, log, now }: EndFacts): StageExit {
  const report = given !== null && given.code === state?.ExitCode ? given : null;
  const outOfMemory = state?.OOMKilled === true || (report?.memoryKills ?? 0) > 0;
  const { reason, code, signal, detail } = causeOf(state, report, outOfMemory, wasAsked);
  return {
    reason: outOfMemory ? 'out-of-memory' : reason,
    code,
    signal,
    outOfMemory,
    startedAt: instant(state?.StartedAt) ?? now,
    finishedAt: instant(state?.FinishedAt) ?? now,
    peakMemoryBytes: report?.peakMemoryBytes ?? 0,
    cpuSeconds: report?.cpuSeconds ?? 0,
    ...log,
    leftoverProcesses: report?.leftoverProcesses ?? 0,
    detail: detail?.slice(0, detailCharactersMax) ?? null,
  };
}

type Cause = Pick<StageExit, 'reason' | 'code' | 'signal' | 'detail'>;

function causeOf(state: EndFacts['state'], report: Report | null, outOfMemory: boolean, wasAsked: boolean): Cause {
  if (state === null) return vanished('The container of the stage is gone: somebody removed it.');
  if (report?.wasStopped === true && !wasAsked) {
    return vanished(
      'Somebody stopped the container of the stage: the engine was restarted, or the container stopped by hand.',
    );
  }
  if (report !== null) {
    const signal = signalNames.get(report.code - signalOffset) ?? null;
    return signal === null
      ? { reason: 'exited', code: report.code, signal, detail: null }
      : { reason: 'signalled', code: null, signal, detail: null };
  }
  if (outOfMemory || wasAsked) return { reason: 'signalled', code: null, signal: 'SIGKILL', detail: null };
  const said = state.Error === '' ? '' : `: ${state.Error}`;
  return vanished(
    `The container of the stage ended with code ${state.ExitCode} and without its report${said}. The engine or the machine was restarted, or somebody killed it.`,
  );
}

function vanished(detail: string): Cause {
  return { reason: 'vanished', code: null, signal: null, detail };
}

/** The engine's zero time means never. */
function instant(text: string | undefined): string | null {
  const ms = Date.parse(text ?? '');
  return Number.isNaN(ms) || ms <= 0 ? null : new Date(ms).toISOString();
}
