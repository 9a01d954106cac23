import picomatch from 'picomatch';
import { describe, expect, test } from 'vitest';
import { commitStatusOf } from '#core/commit-status.ts';
import { branchOf, ignoredAtOnce, whyNoRun } from '#core/push.ts';
import { runStatuses } from '#core/run.ts';

const glob = (pattern: string) => picomatch(pattern, { dot: true, noextglob: true, nonegate: true });
const facts = { branch: 'main', message: 'try', changed: null };
const why = (push: string[], paths: string[], changes: Partial<Parameters<typeof whyNoRun>[1]> = {}) =>
  whyNoRun({ push, paths }, { ...facts, ...changes }, glob);

describe('a push', () => {
  test.each([
    ['refs/heads/main', 'main'],
    ['refs/heads/refs/heads/x', 'refs/heads/x'],
    ['refs/tags/v1', null],
    ['main', null],
  ])('to %s is of the branch %s', (ref, branch) => expect(branchOf(ref)).toBe(branch));

  test('of a tag, a deletion or nothing at all is decided at once', () => {
    expect(ignoredAtOnce({ ref: 'refs/tags/v1', before: null, after: 'a' })).toContain('Only branches');
    expect(ignoredAtOnce({ ref: 'refs/heads/x', before: 'a', after: null })).toContain('deleted');
    expect(ignoredAtOnce({ ref: 'refs/heads/x', before: 'a', after: 'a' })).toContain('did not move');
    expect(ignoredAtOnce({ ref: 'refs/heads/x', before: null, after: 'a' })).toBeNull();
  });

  test.each([
    [['main'], 'main', true],
    [['main'], 'maintenance', false],
    [['main'], 'feature/main', false],
    [['release/*'], 'release/1.0', true],
    [['release/*'], 'release/1/0', false],
    [['release/**'], 'release/1/0', true],
    [['*'], 'feature/x', false],
    [['**'], 'feature/x', true],
    [['{dev,test}'], 'test', true],
    [['!main'], 'dev', false],
    [['a[b'], 'a[b', true],
    [[], 'main', false],
  ])('under triggers.push %j to %s starts a run: %s', (push, branch, starts) => {
    expect(why(push, [], { branch }) === null).toBe(starts);
  });

  test.each([
    ['fix\n\n[skip ml]', false],
    ['[ML SKIP] docs', false],
    ['[skip ci]', true],
    ['skip ml', true],
  ])('with the message %j starts a run: %s', (message, starts) => {
    expect(why(['main'], [], { message }) === null).toBe(starts);
  });

  test.each([
    [['src'], ['src/a.py'], true],
    [['src/'], ['srcs/a.py'], false],
    [['src/**'], ['src/deep/a.py'], true],
    [['*.py'], ['a.py'], true],
    [['*.py'], ['src/a.py'], false],
    [['**/*.sql', 'conf.yaml'], ['docs/x.md', 'conf.yaml'], true],
    [['src'], [], false],
    [[], [], true],
    [['src'], null, true],
  ])('under triggers.paths %j that changed %j starts a run: %s', (paths, changed, starts) => {
    expect(why(['main'], paths, { changed }) === null).toBe(starts);
  });
});

test('every status of a run is told in one line of at most 140 characters', () => {
  const failure = {
    class: 'user' as const,
    sentence: `${'x'.repeat(200)}\nmore`,
    step: null,
    logTail: [],
    exitCode: 1,
  };
  for (const status of runStatuses) {
    const { description } = commitStatusOf({ status, gateResult: null, failure });
    expect(description.length).toBeLessThanOrEqual(140);
    expect(description).not.toContain('\n');
  }
});
