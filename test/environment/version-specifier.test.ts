import { expect, test } from 'vitest';
import { matchesRequest, parseVersionRequest } from '#environment/python/version-specifier.ts';

test.each([
  ['3.11', '3.11.7', true],
  ['3.11', '3.12.0', false],
  ['3.1', '3.11.7', false],
  ['3.11.7', '3.11.7', true],
  ['3.11.7', '3.11.8', false],
  ['>=3.9,<3.13', '3.12.9', true],
  ['>=3.9, <3.13', '3.13.0', false],
  ['~=3.10', '3.12.1', true],
  ['~=3.10.2', '3.11.0', false],
  ['^3.9', '4.0.0', false],
  ['==3.11.*', '3.11.2', true],
  ['!=3.11.*', '3.11.2', false],
  ['cpython-3.11', '3.11.2', true],
  ['*', '3.11.2', true],
])('"%s" and Python %s: %s', (request, version, expected) => {
  expect(matchesRequest(version, parseVersionRequest(request) ?? [])).toBe(expected);
});

test.each(['pypy3.10', 'latest', '3.x', '>='])('"%s" is not a version request', (text) => {
  expect(parseVersionRequest(text)).toBeUndefined();
});
