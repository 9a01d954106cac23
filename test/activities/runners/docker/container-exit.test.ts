import { describe, expect, it } from 'vitest';
import { describeExit, type EndFacts } from '#activities/runners/docker/container-exit.ts';
import { parseReport } from '#activities/runners/docker/entrypoint.ts';

const now = '2026-01-02T03:04:05.000Z';
const state = {
  Status: 'exited',
  Running: false,
  Paused: false,
  Restarting: false,
  OOMKilled: false,
  Dead: false,
  Pid: 0,
  ExitCode: 0,
  Error: '',
  StartedAt: '2026-01-02T03:00:00.123456789Z',
  FinishedAt: '2026-01-02T03:01:00.5Z',
};
const report = parseReport('code 0\nstop 0\nleft 2\npeak 5000\ncached 1000\nkills 0\ncpu 1500000\nend\n   ');
const end = (facts: Partial<EndFacts>) =>
  describeExit({ state, report, wasAsked: false, log: { logBytes: 7, logDroppedBytes: 0 }, now, ...facts });

describe('the exit of a container', () => {
  it('has the code of the engine, the numbers of the report and the times of the engine', () => {
    expect(end({})).toEqual({
      reason: 'exited',
      code: 0,
      signal: null,
      outOfMemory: false,
      startedAt: '2026-01-02T03:00:00.123Z',
      finishedAt: '2026-01-02T03:01:00.500Z',
      peakMemoryBytes: 4000,
      cpuSeconds: 1.5,
      logBytes: 7,
      logDroppedBytes: 0,
      leftoverProcesses: 2,
      detail: null,
    });
  });

  it('is never a success without a report, or with one that disagrees with the engine', () => {
    expect(end({ report: null })).toMatchObject({ reason: 'vanished', code: null, startedAt: expect.any(String) });
    expect(end({ state: { ...state, ExitCode: 137 } })).toMatchObject({ reason: 'vanished', peakMemoryBytes: 0 });
    expect(end({ state: null })).toMatchObject({ reason: 'vanished', startedAt: now });
  });

  it('is the signal that the worker sent where it asked for the end', () => {
    const killed = { ...state, ExitCode: 137 };
    expect(end({ state: killed, report: null, wasAsked: true })).toMatchObject({
      reason: 'signalled',
      signal: 'SIGKILL',
    });
  });

  it('is out of memory when the engine or the kernel says so, whatever the code', () => {
    const killed = { ...state, ExitCode: 137, OOMKilled: true };
    expect(end({ state: killed, report: null })).toMatchObject({ reason: 'out-of-memory', outOfMemory: true });
    expect(end({ report: report && { ...report, memoryKills: 1 } })).toMatchObject({
      reason: 'out-of-memory',
      code: 0,
    });
  });

  it('takes only a report that the entrypoint could have written', () => {
    for (const text of [
      '',
      'code 0\n',
      'code -1\nstop 0\nleft 0\npeak 0\ncached 0\nkills 0\ncpu 0\nend\n',
      '{"code":0}',
    ]) {
      expect(parseReport(text)).toBeNull();
    }
  });
});
