import { expect, test } from 'vitest';
import { readGenericEvent, readHostEvent } from '#contract/push-events.ts';
import { readPushTriggers } from '#contract/push-triggers.ts';
import { DomainError } from '#core/errors.ts';

const [a, b, zeros] = ['a'.repeat(40), 'b'.repeat(40), '0'.repeat(40)];

test('what the hosts send about a push becomes the same push', () => {
  const payload = { ref: 'refs/heads/main', before: a, after: b.toUpperCase(), checkout_sha: b, commits: [{ id: b }] };
  const push = { kind: 'push', push: { ref: 'refs/heads/main', before: a, after: b } };
  expect(readHostEvent('github', 'push', payload)).toEqual(push);
  expect(readHostEvent('gitea', 'push', payload)).toEqual(push);
  expect(readHostEvent('gitlab', 'Push Hook', payload)).toEqual(push);
  expect(readGenericEvent(payload)).toEqual(push);
});

test('zeros stand for nothing, and so does what is left out', () => {
  const made = readHostEvent('github', 'push', { ref: 'refs/heads/x', before: zeros, after: b });
  expect(made).toMatchObject({ push: { before: null, after: b } });
  const removed = readHostEvent('github', 'push', { ref: 'refs/heads/x', before: a, after: zeros, deleted: true });
  expect(removed).toMatchObject({ push: { before: a, after: null } });
  expect(readGenericEvent({ ref: 'refs/heads/x', after: null })).toMatchObject({ push: { before: null, after: null } });
});

test('other events are passed over, whatever they carry', () => {
  expect(readHostEvent('github', 'ping', null)).toEqual({ kind: 'ping' });
  expect(readHostEvent('github', 'Push Hook', {})).toMatchObject({ kind: 'other' });
  expect(readHostEvent('gitlab', 'push', {})).toMatchObject({ kind: 'other' });
  expect(readHostEvent('gitea', '', {})).toMatchObject({ kind: 'other' });
});

test.each([
  [null],
  [[]],
  ['text'],
  [{}],
  [{ ref: '', after: b }],
  [{ ref: 'refs/heads/x', after: 'b' }],
  [{ ref: 1, after: b }],
])('the payload %j is no push', (payload) => {
  expect(() => readHostEvent('github', 'push', payload)).toThrow();
  expect(() => readGenericEvent(payload)).toThrow();
});

test('triggers are read whatever else the file says', () => {
  expect(readPushTriggers(null, 'trunk')).toEqual({ push: ['trunk'], paths: [] });
  expect(readPushTriggers('', 'trunk')).toEqual({ push: [], paths: [] });
  const text = 'stages: 5\nunknown: 1\ntriggers:\n  push: [main, "release/*"]\n  paths: [./src/]\n  schedule: never\n';
  expect(readPushTriggers(text, 'trunk')).toEqual({ push: ['main', 'release/*'], paths: ['src'] });
});

test.each([
  ['triggers: [main]', 'assay.yaml:1:11 triggers: found a list of 1'],
  ['triggers: { push: main }', 'triggers.push: found "main"; expected a list of branches'],
  ['triggers: { paths: [../x] }', 'triggers.paths.0'],
  ['a: [', 'assay.yaml:'],
])('%s is refused with its place', (text, sentence) => {
  expect(() => readPushTriggers(text, 'main')).toThrow(DomainError);
  expect(() => readPushTriggers(text, 'main')).toThrow(sentence);
});
