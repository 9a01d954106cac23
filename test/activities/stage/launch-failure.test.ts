import { expect, it } from 'vitest';
import { launchFailure } from '#activities/stage/launch-failure.ts';
import { DomainError } from '#core/errors.ts';

const where = { node: 'node-1', stage: 'train' };

it('a refusal is the failure of the stage, in its own words', () => {
  const refused = new DomainError('secret-missing', 'The project has no secret TOKEN.');
  expect(launchFailure(where, refused)).toMatchObject({ class: 'user', sentence: refused.message, step: 'train' });
});

it.each([
  ['by its code', Object.assign(new Error('write'), { code: 'ENOSPC' })],
  ['by the words of a program', new Error('The supervisor did not start: OSError: No space left on device')],
])('a full disk is told %s and named with its node', (_how, error) => {
  const failure = launchFailure(where, error);
  expect(failure.class).toBe('resources');
  expect(failure.sentence).toBe(
    'The disk of node node-1 is full, so train could not be started. Free some space there.',
  );
});

it('other trouble counts against the infrastructure', () => {
  expect(launchFailure(where, new Error('fork failed'))).toMatchObject({ class: 'infrastructure' });
});
