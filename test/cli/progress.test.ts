import { describe, expect, it } from 'vitest';
import { createProgress, drawProgress } from '#cli/show/progress.ts';
import type { RunSummary, Step } from '#contract/runs.ts';
import { describeStep } from '#cli/show/step-facts.ts';
import { exitCodeOf } from '#cli/wait.ts';
import { createRecordingTerminal } from './terminals.ts';

const plain = (_style: unknown, text: string) => text;

function run(changes: Partial<RunSummary>): RunSummary {
  return { label: 'digits/42', status: 'running', waitingReason: null, ...changes } as RunSummary;
}

function step(position: number, name: string, changes: Partial<Step>): Step {
  const none = {
    reason: null,
    waiting: null,
    failure: null,
    facts: null,
    startedAt: null,
    finishedAt: null,
    durationMs: null,
  };
  return {
    name,
    position,
    kind: 'stage',
    status: 'pending',
    attempts: [],
    needs: [],
    stepKey: null,
    reusedFrom: null,
    ...none,
    ...changes,
  };
}

const steps = [
  step(1, 'resolve-commit', {
    kind: 'platform',
    status: 'succeeded',
    startedAt: '2026-01-01T00:00:00Z',
    finishedAt: '2026-01-01T00:00:00.100Z',
    facts: { commit: 'a'.repeat(40), branch: 'main' },
  }),
  step(2, 'train', { status: 'running', startedAt: '2026-01-01T00:00:01Z' }),
  step(3, 'evaluate', { status: 'waiting', reason: 'waits for a free slot of pool cpu' }),
];

describe('progress on a screen', () => {
  const draw = (rows: number, columns = 80) => {
    const picture = { run: run({}), steps: new Map(steps.map((one) => [one.name, one])) };
    return drawProgress(picture, { rows, columns }, plain, Date.parse('2026-01-01T00:00:03.500Z'));
  };

  it('shows each step with mark, time and what it found or waits for', () => {
    expect(draw(24)).toEqual([
      'digits/42  running',
      '  ✓ resolve-commit      100 ms  aaaaaaaaaaaa main',
      '  ● train                2.5 s',
      '  ◌ evaluate                    waits for a free slot of pool cpu',
    ]);
  });

  it('never writes a line wider or a picture higher than the screen', () => {
    expect(draw(24, 40).every((line) => line.length <= 40)).toBe(true);
    const many = Array.from({ length: 60 }, (_, n) => step(n, `s${n}`, { status: n < 50 ? 'succeeded' : 'running' }));
    const picture = { run: run({}), steps: new Map(many.map((one) => [one.name, one])) };
    const lines = drawProgress(picture, { rows: 20, columns: 80 }, plain, 0);
    expect(lines.length).toBeLessThan(20);
    expect(lines.at(-1)).toContain('s59');
  });
});

describe('progress in a pipe', () => {
  it('is one line per change', () => {
    const terminal = createRecordingTerminal({ isTerminal: false });
    const progress = createProgress(terminal);
    const train = steps[1] as Step;
    progress.show({ kind: 'run', run: run({}) });
    progress.show({ kind: 'step', step: train });
    progress.show({ kind: 'step', step: train });
    progress.show({ kind: 'step', step: { ...train, status: 'succeeded', durationMs: 2500 } });
    progress.show({ kind: 'run', run: run({ status: 'needs-attention', waitingReason: 'its node is gone' }) });
    progress.end();
    expect(terminal.notes).toEqual([
      '  train: running',
      '  train: succeeded 2.5 s',
      'digits/42: needs-attention (its node is gone)',
    ]);
  });
});

describe('what a step found', () => {
  it('is said in the words of that step', () => {
    const facts = { environment: 'hit', builtMs: 0, python: '3.11.2', file: 'requirements.txt', lock: 'hit' };
    const environment = step(2, 'build-environment', { kind: 'platform', status: 'succeeded', facts });
    expect(describeStep(environment)).toBe('hit; Python 3.11.2, requirements.txt, lock hit');
    const data = step(3, 'load-data', {
      kind: 'platform',
      facts: { train: { rows: 1, sizeBytes: 2048 }, pets: { files: 2 } },
    });
    expect(describeStep(data)).toBe('train: 1 row, 2.0 KiB, pets: 2 files');
    const stage = { outputs: 1, metrics: 3, leftoverProcesses: 1, logDroppedBytes: 0, notes: ['loss is said twice.'] };
    expect(describeStep(step(4, 'train', { status: 'succeeded', facts: stage }))).toBe(
      '1 file, 3 metrics, 1 process left behind, loss is said twice.',
    );
    const held = step(4, 'train', { status: 'succeeded', facts: { outputs: 2, determinism: { held: true } } });
    expect(describeStep(held)).toBe('2 files, 0 metrics, deterministic');
  });

  it('gives way to why it failed', () => {
    const failure = {
      class: 'user',
      sentence: 'train exited with code 1.',
      step: 'train',
      logTail: [],
      exitCode: 1,
    } as const;
    expect(describeStep(step(4, 'train', { failure: { ...failure, logTail: [] }, facts: { outputs: 1 } }))).toBe(
      failure.sentence,
    );
  });
});

describe('the exit code of --wait', () => {
  it("is the gate's result", () => {
    expect(exitCodeOf({ status: 'succeeded', gateResult: 'passed' })).toBe(0);
    expect(exitCodeOf({ status: 'succeeded', gateResult: 'none' })).toBe(0);
    expect(exitCodeOf({ status: 'succeeded', gateResult: 'failed' })).toBe(1);
    expect(exitCodeOf({ status: 'failed', gateResult: null })).toBe(1);
    expect(exitCodeOf({ status: 'cancelled', gateResult: null })).toBe(2);
  });
});

describe('a reused step', () => {
  it('names the run that it came from and how it runs again', () => {
    const terminal = createRecordingTerminal();
    const progress = createProgress(terminal);
    progress.show({ kind: 'run', run: run({}) });
    const reused = step(2, 'train', { status: 'reused', facts: { outputs: 2 }, reusedFrom: 'digits/41' });
    progress.show({ kind: 'step', step: reused });
    progress.show({ kind: 'step', step: step(3, 'evaluate', { status: 'reused', reusedFrom: 'digits/42' }) });
    progress.end();
    expect(describeStep(reused)).toBe('reused from digits/41');
    expect(terminal.notes).toEqual([
      '  train: reused from digits/41; --no-reuse runs it again',
      '  evaluate: reused from digits/42',
    ]);
  });
});
