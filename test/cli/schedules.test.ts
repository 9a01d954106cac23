import type { Client } from '@temporalio/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Run } from '#contract/runs.ts';
import type { Schedule } from '#contract/schedules.ts';
import { missingCommit } from '#test/support/schedules.ts';
import { createTemporalClient } from '#test/support/temporal-client.ts';
import { type CliServer, startCliServer } from './server.ts';

let client: Client;
let server: CliServer;

beforeAll(async () => {
  client = await createTemporalClient();
  server = await startCliServer({ temporal: () => client });
  await server.api.project('digits');
});
afterAll(async () => {
  await server.close();
  await client.connection.close();
});

const schedules = (...words: string[]) => server.assay(['schedules', ...words, '--project', 'digits']);
const onTerminal = (...words: string[]) =>
  server.assay(['schedules', ...words, '--project', 'digits'], { isTerminal: true });

describe('assay schedules', () => {
  it('creates one and shows it in words, with its next five times', async () => {
    const options = ['--timezone', 'Europe/Berlin', '--ref', missingCommit, '-P', 'lr=0.1', '--overlap', 'allow'];
    const made = await onTerminal(
      'create',
      'nightly',
      '30 2 * * 1-5',
      ...options,
      '--catch-up',
      '90m',
      '--tag',
      'night',
    );
    expect(made.code).toBe(0);
    expect(made.out).toMatch(/when +At 02:30, Monday through Friday \(Europe\/Berlin\)/);
    expect(made.out).toMatch(/catch-up +1h30m/);
    expect(made.out).toMatch(/parameters +lr=0\.1/);
    expect(made.out.match(/\d{4}-\d\d-\d\d 02:30:00\+0[12]:00 +\d{4}-\d\d-\d\dT0[01]:30:00Z/g)).toHaveLength(5);
    const [line] = (await schedules()).out.split('\n');
    expect(line?.split('\t')).toEqual([
      'nightly',
      'At 02:30, Monday through Friday (Europe/Berlin)',
      expect.stringMatching(/ 02:30:00\+0[12]:00$/),
      'active',
      'made by ml@example.org',
      '',
    ]);
  });

  it('says of a wrong one what was found and expected', async () => {
    const { code, notes } = await schedules('create', 'never', '0 3 31 2 *');
    expect(code).toBe(1);
    expect(notes).toContain('found "0 3 31 2 *", expected a date that some year has');
    expect((await schedules('create', 'x', '@daily', '--catch-up', 'soon')).notes).toContain('duration such as 90m');
  });

  it('changes, pauses with a note and resumes one', async () => {
    expect((await schedules('change', 'nightly', '--cron', '0 4 * * *')).out).toContain('At 04:00 (Europe/Berlin)');
    expect((await schedules('pause', 'nightly', '--note', 'new data')).notes).toBe('nightly of digits is paused.');
    const paused = await onTerminal('show', 'nightly');
    expect(paused.out).toContain('paused by ml@example.org: new data');
    expect(paused.out).toContain('nothing is started at these times');
    await schedules('resume', 'nightly');
    const shown = JSON.parse((await schedules('show', 'nightly', '--json')).out) as Schedule;
    expect(shown).toMatchObject({ paused: null, cron: '0 4 * * *', params: { lr: 0.1 } });
  });

  it('triggers one; its run says so in show and ls', async () => {
    const [label = ''] = (await schedules('trigger', 'nightly')).out.split('\t');
    const run = JSON.parse((await server.assay(['show', label, '--json'])).out) as Run;
    expect(run.trigger).toMatchObject({ kind: 'schedule', schedule: 'nightly' });
    const due = /schedule nightly, due \d{4}-\d\d-\d\d \d\d:\d\d(?::\d\d)? UTC/;
    expect((await server.assay(['show', label], { isTerminal: true })).out).toMatch(due);
    expect((await server.assay(['ls'])).out.split('\n')[0]?.split('\t').at(-1)).toMatch(due);
    expect((await server.assay(['ls'], { isTerminal: true })).out).toMatch(/STARTED BY/);
    expect((await onTerminal('show', 'nightly')).out).toMatch(new RegExp(`hand +${label} queued`));
  });

  it('shows what a backfill would do and starts it only when told to', async () => {
    const range = ['--from', '2026-03-28', '--to', '2026-03-30T03:00:00Z'];
    const preview = await schedules('backfill', 'nightly', ...range);
    expect(preview.out.split('\n').filter(Boolean)).toEqual([
      '2026-03-28 04:00:00+01:00\t2026-03-28T03:00:00Z\twould run',
      '2026-03-29 04:00:00+02:00\t2026-03-29T02:00:00Z\twould run',
      '2026-03-30 04:00:00+02:00\t2026-03-30T02:00:00Z\twould run',
    ]);
    expect(preview.notes).toBe('3 runs to start. Nothing was started; add --yes to start them.');
    expect((await schedules('backfill', 'nightly', ...range, '--yes')).notes).toBe('3 runs started.');
    expect((await schedules('backfill', 'nightly', ...range, '--yes')).notes).toBe('0 runs started.');
    expect((await schedules('backfill', 'nightly', ...range)).out).toMatch(/digits\/\d+ queued\n/);
  });

  it('removes one', async () => {
    expect((await schedules('rm', 'nightly')).notes).toBe('nightly of digits is deleted. Its runs stay.');
    expect((await schedules('ls')).notes).toBe('digits has no schedules.');
    expect((await schedules('show', 'nightly')).code).toBe(1);
  });
});
