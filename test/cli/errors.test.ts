import { describe, expect, it } from 'vitest';
import { CliError, endedBy, exitCodes } from '#cli/errors.ts';
import { type Problem, problemType } from '#contract/problems.ts';
import { DomainError } from '#core/errors.ts';
import { ApiError, UnreachableError } from '#sdk/api-error.ts';
import { createRecordingTerminal } from './terminals.ts';

function tell(error: unknown, asJson = false) {
  const terminal = createRecordingTerminal();
  const code = endedBy(error, terminal, asJson);
  return { code, notes: terminal.notes, out: terminal.written.join('') };
}

function problem(changes: Partial<Problem>): ApiError {
  const code = changes.code ?? 'not-found';
  return new ApiError({
    type: problemType(code),
    title: 'Not found',
    status: 404,
    code,
    detail: 'There is no run digits/9.',
    errors: [],
    requestId: 'r1',
    ...changes,
  });
}

describe('a refusal', () => {
  it('of the server is one line: title and detail', () => {
    expect(tell(problem({}))).toMatchObject({ code: 1, notes: ['Not found: There is no run digits/9.'] });
  });

  it('for want of a login has its own exit code and says how to log in', () => {
    const { code, notes } = tell(problem({ status: 401, code: 'unauthenticated' }));
    expect(code).toBe(exitCodes.notLoggedIn);
    expect(notes[1]).toContain('assay login');
  });

  it('with several findings shows each with file and line, once', () => {
    const errors = [
      {
        path: 'stages.train.timout',
        message: 'stages.train.timout: found an unknown key.',
        file: 'assay.yaml',
        line: 3,
      },
      { path: 'gate.0', message: 'gate.0: found no rule.', file: 'assay.yaml', line: 9 },
    ];
    const detail = errors.map((error) => `assay.yaml:${error.line} ${error.message}`).join('\n');
    const expected = [
      'found 2 problems',
      '  assay.yaml:3 stages.train.timout: found an unknown key.',
      '  assay.yaml:9 gate.0: found no rule.',
    ];
    expect(tell(problem({ title: 'Invalid project file', detail, errors })).notes.join('\n')).toBe(
      `Invalid project file: ${expected.join('\n')}`,
    );
    expect(tell(new DomainError('invalid-project-file', detail, errors)).notes.join('\n')).toBe(
      `assay: ${expected.join('\n')}`,
    );
  });

  it('as JSON is the problem itself', () => {
    expect(JSON.parse(tell(problem({}), true).out)).toMatchObject({ code: 'not-found', status: 404 });
  });

  it('lets no escape sequence of the server reach the terminal', () => {
    expect(tell(problem({ detail: 'a\u001b[2Jb' })).notes).toEqual(['Not found: ab']);
  });
});

describe('trouble', () => {
  it('with the server is told apart from a refusal', () => {
    expect(tell(new UnreachableError('http://127.0.0.1:1', null)).code).toBe(exitCodes.unreachable);
    expect(tell(problem({ status: 503, code: 'unavailable' })).code).toBe(exitCodes.unreachable);
  });

  it('with files is one line without a stack', () => {
    const error = Object.assign(new Error("ENOENT: no such file or directory, open 'x'"), { code: 'ENOENT' });
    expect(tell(error)).toMatchObject({ code: 1, notes: ["assay: ENOENT: no such file or directory, open 'x'"] });
  });

  it('of the command line itself has the exit code it asks for', () => {
    expect(tell(new CliError('Stopped.', { exitCode: exitCodes.interrupted })).code).toBe(130);
  });
});
