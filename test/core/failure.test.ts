import { describe, expect, it } from 'vitest';
import { failureOf, type StageExit } from '#core/failure.ts';

const success: StageExit = {
  stage: 'train',
  code: 0,
  signal: null,
  outOfMemory: false,
  memoryLimitBytes: null,
  peakMemoryBytes: null,
  timedOut: false,
  timeoutMs: null,
  startError: null,
  vanished: false,
  missingOutputs: [],
  logTail: [],
};

describe('the failure of a stage', () => {
  it('is none when it exited 0 and wrote what it promised', () => {
    expect(failureOf(success)).toBeNull();
    expect(failureOf({ ...success, logTail: ['No space left on device'] })).toBeNull();
  });

  it.each<[string, Partial<StageExit>, string, RegExp]>([
    ['a plain exit', { code: 1 }, 'user', /^train exited with code 1\.$/],
    [
      'an exception',
      { code: 1, logTail: ['Traceback', 'ValueError: bad shape', ''] },
      'user',
      /code 1\. ValueError: bad shape$/,
    ],
    ['a signal', { code: null, signal: 'SIGSEGV' }, 'user', /^train was ended by SIGSEGV\.$/],
    ['an unknown command', { code: 127 }, 'user', /not found/],
    [
      'a command that cannot start',
      { code: null, startError: 'no such file' },
      'user',
      /could not be started: no such file\.$/,
    ],
    [
      'missing outputs',
      { missingOutputs: ['model/', 'a.json'] },
      'user',
      /exited 0 but did not write model\/, a\.json/,
    ],
    [
      'memory',
      { code: null, signal: 'SIGKILL', outOfMemory: true, memoryLimitBytes: 2 ** 31, peakMemoryBytes: 2.1 * 2 ** 30 },
      'resources',
      /2 GiB of memory \(2\.1 GiB at the peak\)/,
    ],
    [
      'GPU memory',
      { code: 1, logTail: ['torch.OutOfMemoryError: CUDA out of memory. Tried to allocate'] },
      'resources',
      /GPU memory/,
    ],
    [
      'a full disk',
      { code: 1, logTail: ['OSError: [Errno 28] No space left on device'] },
      'resources',
      /disk of its node is full/,
    ],
    ['a failed allocation', { code: 1, logTail: ['MemoryError'] }, 'resources', /could not get the memory/],
    [
      'a missing package',
      { code: 1, logTail: ["ModuleNotFoundError: No module named 'sklearn.svm'"] },
      'user',
      /imports sklearn\.svm, .* requirement file/,
    ],
    ['time', { code: null, signal: 'SIGTERM', timedOut: true, timeoutMs: 5_400_000 }, 'timeout', /timeout of 1h30m/],
    ['a vanished process', { code: null, vanished: true }, 'infrastructure', /nobody saw how it ended/],
  ])('says in one sentence who is to blame: %s', (_, exit, failureClass, sentence) => {
    const failure = failureOf({ ...success, ...exit });
    expect(failure?.class).toBe(failureClass);
    expect(failure?.sentence).toMatch(sentence);
    expect(failure?.sentence.endsWith('.') || failure?.sentence.includes('ValueError')).toBe(true);
  });

  it('keeps the last twenty lines', () => {
    const logTail = Array.from({ length: 30 }, (_, index) => `line ${index}`);
    expect(failureOf({ ...success, code: 3, logTail })).toMatchObject({
      step: 'train',
      exitCode: 3,
      logTail: logTail.slice(10),
    });
  });
});
