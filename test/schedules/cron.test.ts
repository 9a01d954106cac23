// Our judgement of cron expressions against Temporal's, which is the one that counts.
import { randomUUID } from 'node:crypto';
import { Client, Connection } from '@temporalio/client';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { inWords } from '#api/schedule-view.ts';
import { cronHasDate, isCron } from '#core/cron.ts';
import { testTemporal } from '../support/temporal.ts';

let client: Client;

beforeAll(async () => {
  const { address, namespace } = await testTemporal();
  client = new Client({ connection: await Connection.connect({ address }), namespace });
});

afterAll(() => client.connection.close());

/** The next times by Temporal; null when it refuses the expression. */
async function ask(cron: string): Promise<Date[] | null> {
  const scheduleId = `cron-${randomUUID()}`;
  const action = { type: 'startWorkflow', workflowType: 'none', taskQueue: scheduleId } as const;
  const spec = { cronExpressions: [cron] };
  try {
    const handle = await client.schedule.create({ scheduleId, spec, action, state: { paused: true } });
    const { info } = await handle.describe();
    await handle.delete();
    return info.nextActionTimes;
  } catch (error) {
    if (error instanceof TypeError) return null;
    throw error;
  }
}

const number = fc.integer({ min: 0, max: 62 }).map(String);
const name = fc.constantFrom('mon', 'SUN', 'feb', 'Dec', '7', '31', '30', '2', '*', '?', '*');
const value = fc.oneof(number, name);
const range = fc.oneof(
  value,
  fc.tuple(value, value).map(([first, last]) => `${first}-${last}`),
);
const part = fc.oneof(
  range,
  fc.tuple(range, fc.constantFrom('2', '5', '15', '0')).map(([all, step]) => `${all}/${step}`),
);
const field = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom('*', '0', '3') },
  { weight: 1, arbitrary: fc.array(part, { minLength: 1, maxLength: 2 }).map((parts) => parts.join(',')) },
);
const cron = fc.tuple(field, field, field, field, field).map((fields) => fields.join(' '));

describe('a cron expression', () => {
  it('is taken by us exactly when Temporal takes it, and has a date exactly when Temporal finds a next time', async () => {
    await fc.assert(
      fc.asyncProperty(cron, async (text) => {
        const next = await ask(text);
        expect([text, isCron(text)]).toEqual([text, next !== null]);
        if (next !== null) expect([text, cronHasDate(text)]).toEqual([text, next.length > 0]);
      }),
      { numRuns: 120, seed: 4 },
    );
  });

  it('that is taken can be said in words', () => {
    fc.assert(
      fc.property(cron.filter(isCron), (text) => {
        expect(inWords({ cron: text, timezone: 'UTC' })).not.toMatch(/undefined|NaN|null/);
      }),
      { numRuns: 2_000, seed: 4 },
    );
    expect(inWords({ cron: '0 3 13 * 5', timezone: 'UTC' })).toBe(
      'At 03:00, on day 13 of the month, only on Friday (UTC)',
    );
  });

  it.each(['0 3 31 2 *', '0 3 30 2 1', '0 3 29 2 1', '0 3 31 4,6 *', '@yearly', '@weekly'])(
    '%s is judged alike',
    async (text) => {
      expect(cronHasDate(text)).toBe(((await ask(text)) ?? []).length > 0);
    },
  );
});
