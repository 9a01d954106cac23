import { describe, expect, it } from 'vitest';
import { cronHasDate, isCron } from '#core/cron.ts';
import { isTimeZone, zonedTime } from '#core/time-zone.ts';

describe('a cron expression', () => {
  it.each(['0 3 * * *', '5/15 * * * *', '0 3 * * 5-7', '0 3 * JAN-mar *', '*/1000 * * * *', '@weekly'])(
    'may be %s',
    (text) => {
      expect(isCron(text)).toBe(true);
      expect(cronHasDate(text)).toBe(true);
    },
  );

  it.each([
    '0 3 * * fri-mon',
    '10-5 * * * *',
    '0 3 ? * *',
    '0 0 0 * *',
    '* * * * * *',
    'CRON_TZ=UTC 0 3 * * *',
    '1-2-3 * * * *',
  ])('may not be %s', (text) => {
    expect(isCron(text)).toBe(false);
  });

  it.each([
    ['0 3 31 2 *', false],
    ['0 3 30 feb mon', false],
    ['0 3 31 4,6,9,11 *', false],
    ['0 3 31 4-5 *', true],
    ['0 3 29 2 *', true],
    ['0 3 29 2 1', true],
  ])('%s has a date: %s', (text, has) => {
    expect(isCron(text)).toBe(true);
    expect(cronHasDate(text)).toBe(has);
  });
});

describe('a time zone', () => {
  it('is named exactly, by its name or an alias', () => {
    for (const name of ['Europe/Berlin', 'UTC', 'Asia/Kolkata', 'America/Argentina/Buenos_Aires', 'Etc/GMT+5', 'CET'])
      expect([name, isTimeZone(name)]).toEqual([name, true]);
    for (const name of ['', 'europe/berlin', 'Europe/BERLIN', '+01:00', 'Mars/Olympus', 'Local'])
      expect([name, isTimeZone(name)]).toEqual([name, false]);
  });

  it('shows an instant as its clocks do, with the distance from UTC', () => {
    const berlin = (instant: string) => zonedTime(new Date(instant), 'Europe/Berlin');
    expect(berlin('2026-03-29T00:59:59Z')).toBe('2026-03-29T01:59:59+01:00');
    expect(berlin('2026-03-29T01:00:00Z')).toBe('2026-03-29T03:00:00+02:00');
    expect([berlin('2026-10-25T00:30:00Z'), berlin('2026-10-25T01:30:00Z')]).toEqual([
      '2026-10-25T02:30:00+02:00',
      '2026-10-25T02:30:00+01:00',
    ]);
    expect(zonedTime(new Date('2026-01-01T00:00:00Z'), 'UTC')).toBe('2026-01-01T00:00:00+00:00');
    expect(zonedTime(new Date('2026-01-01T00:00:00Z'), 'Asia/Kolkata')).toBe('2026-01-01T05:30:00+05:30');
  });
});
