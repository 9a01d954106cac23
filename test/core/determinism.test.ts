import { describe, expect, it } from 'vitest';
import { deterministicVariables, hookVariables, readDeterminism } from '#core/determinism.ts';

const torch = { version: '2.5.1', deterministic: true, warnOnly: false, cudnnBenchmark: false, threads: 2 };
const process = { pid: 7, program: 'train.py', variables: deterministicVariables, torch };
const read = (...lines: unknown[]) => readDeterminism('train', lines.map((line) => JSON.stringify(line)).join('\n'));

describe('what a deterministic stage reports', () => {
  it('holds when every process ended with what was asked for', () => {
    const found = read(process, { ...process, pid: 8 });
    expect(found).toMatchObject({ held: true, processes: 2, notes: [] });
    expect(found.libraries).toEqual([{ library: 'torch', ...torch, error: null }]);
  });

  it('counts as a process had it at its end, not when it began', () => {
    const found = read(process, { ...process, torch: { ...torch, deterministic: false } });
    expect(found.held).toBe(false);
    expect(found.notes).toEqual(['train.py (torch 2.5.1) ended with deterministic algorithms switched off.']);
  });

  it.each([
    [{ torch: { ...torch, warnOnly: true } }, 'as a warning only'],
    [{ torch: { ...torch, cudnnBenchmark: true } }, 'cudnn.benchmark on'],
    [{ torch: { ...torch, error: 'RuntimeError()' } }, 'could not be made deterministic: RuntimeError()'],
    [{ tensorflow: { version: '2.18', deterministic: false } }, '(tensorflow 2.18) ended with'],
    [{ variables: { ...deterministicVariables, TF_DETERMINISTIC_OPS: '0' } }, 'TF_DETERMINISTIC_OPS=0, not 1'],
    [{ variables: {} }, 'CUBLAS_WORKSPACE_CONFIG=, not :4096:8'],
  ])('says what %j undoes', (change, words) => {
    const { held, notes } = read({ ...process, ...change });
    expect(held).toBe(false);
    expect(notes.join(' ')).toContain(words);
  });

  it('accepts the other deterministic setting of cuBLAS', () => {
    const variables = { ...deterministicVariables, CUBLAS_WORKSPACE_CONFIG: ':16:8' };
    expect(read({ ...process, variables }).held).toBe(true);
  });

  it('is unknown where no process said anything, and nonsense says nothing', () => {
    for (const report of ['', 'not JSON', '[]\n{"pid":"7"}\nnull', `{"pid":7,"torch":${'['.repeat(50)}`])
      expect(readDeterminism('train', report)).toMatchObject({ held: null, processes: 0, libraries: [] });
  });

  it('keeps no more of a flood than it shows', () => {
    const flood = Array.from({ length: 5_000 }, (_, pid) => ({ pid, torch: { version: 'x'.repeat(900) + pid } }));
    const { libraries, notes, processes } = read(...flood);
    expect([libraries.length <= 16, notes.length <= 16, processes <= 1_000]).toEqual([true, true, true]);
    expect(libraries[0]?.version.length).toBeLessThan(300);
  });
});

it("the hook's folder comes before those of the project", () => {
  const hook = { folder: '/s/deterministic', report: null };
  expect(hookVariables({ PYTHONPATH: 'src' }, hook)).toEqual({ PYTHONPATH: '/s/deterministic:src' });
  expect(hookVariables({}, { ...hook, report: '/s/r' })).toEqual({
    PYTHONPATH: '/s/deterministic',
    ASSAY_DETERMINISM_REPORT: '/s/r',
  });
});
