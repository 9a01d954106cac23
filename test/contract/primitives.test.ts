import { describe, expect, it } from 'vitest';
import { asOf, ordinal } from '#contract/primitives.ts';

describe('an instant to look from', () => {
  it.each(['2026-01-01T00:00:00Z', '2026-01-01T00:00:00.123456Z', '2026-01-01T05:30:00+05:30'])('may be %s', (text) => {
    expect(asOf.parse(text)).toBe(text);
  });

  it.each([
    ['the year zero', '0000-01-01T00:00:00Z'],
    ['a year that its zone moves before the first', '0001-01-01T00:00:00+15:00'],
    ['an instant before the epoch', '1969-12-31T23:59:59Z'],
    ['a zone that Postgres refuses', '2020-01-01T00:00:00+16:00'],
    ['a day without a time', '2020-01-01'],
  ])('is not %s', (_, text) => {
    expect(asOf.safeParse(text).success).toBe(false);
  });
});

describe('a number in a URL', () => {
  it.each(['0', '-1', '1.5', '2147483648', '99999999999999', 'x', ''])('is refused as %j', (text) => {
    expect(ordinal.safeParse(text).success).toBe(false);
  });
});
