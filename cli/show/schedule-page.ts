// Everything about one schedule on one page.
import { formatDuration } from '#core/quantities.ts';
import type { Schedule, Tick } from '#contract/schedules.ts';
import { type Cell, formatFields, formatTable, type Styled } from '#cli/output.ts';
import type { Terminal } from '#cli/terminal.ts';

const nextColumns = [{ title: 'local' }, { title: 'utc' }];
const tickColumns = [{ title: 'due' }, { title: 'utc' }, { title: 'by' }, { title: 'outcome', flexible: true }];

export function formatSchedule(terminal: Terminal, schedule: Schedule, ticks: readonly Tick[]): string {
  const sections: [string, string][] = [
    ['', formatSummary(terminal, schedule)],
    ['Next times', formatNext(terminal, schedule)],
    ['Latest', formatTicks(terminal, ticks)],
  ];
  return sections
    .filter(([, text]) => text !== '')
    .map(([title, text]) => (title === '' ? text : `${terminal.paint('bold', title)}\n${text}`))
    .join('\n');
}

function formatSummary(terminal: Terminal, schedule: Schedule): string {
  const params = Object.entries(schedule.params).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  return formatFields(terminal, [
    ['name', schedule.name],
    ['project', schedule.project],
    ['from', sourceOf(schedule)],
    ['when', schedule.words],
    ['cron', schedule.cron],
    ['time zone', schedule.timezone],
    ['state', stateOf(schedule)],
    ['trouble', schedule.trouble],
    ['ref', schedule.ref ?? 'the default branch'],
    ['overlap', schedule.overlap],
    ['catch-up', formatDuration(schedule.catchUpSeconds * 1000)],
    ['parameters', params.length === 0 ? null : params.join(' ')],
    ['experiment', schedule.experiment],
    ['tags', schedule.tags.length === 0 ? null : schedule.tags.join(', ')],
    ['priority', String(schedule.priority)],
    ['owner', schedule.owner],
  ]);
}

export function sourceOf({ source, createdBy }: Schedule): string {
  return source === 'file' ? 'from assay.yaml' : `made by ${createdBy}`;
}

export function stateOf({ paused, trouble }: Schedule): Styled {
  if (trouble !== null) return { text: 'refused by Temporal', style: 'red' };
  if (paused === null) return { text: 'active', style: 'green' };
  return { text: `paused by ${paused.by}${paused.note === null ? '' : `: ${paused.note}`}`, style: 'yellow' };
}

function formatNext(terminal: Terminal, { next, paused }: Schedule): string {
  if (next === null) return terminal.isTerminal ? 'Not known: Temporal does not answer or has not taken it yet.\n' : '';
  const rows = next.map(({ at, local }): Cell[] => [local.replace('T', ' '), utc(at)]);
  const hint = paused !== null && terminal.isTerminal ? 'Paused: nothing is started at these times.\n' : '';
  return hint + formatTable(terminal, nextColumns, rows);
}

function formatTicks(terminal: Terminal, ticks: readonly Tick[]): string {
  const rows = ticks.map((tick): Cell[] => [
    tick.local.replace('T', ' '),
    utc(tick.nominalAt),
    tick.origin,
    outcomeOf(tick),
  ]);
  return rows.length === 0 ? '' : formatTable(terminal, tickColumns, rows);
}

export function outcomeOf({ runLabel, runStatus, skipped }: Tick): string {
  return runLabel === null ? `skipped: ${skipped}` : `${runLabel} ${runStatus ?? ''}`.trim();
}

/** To the second: a cron expression knows no parts of one. */
export function utc(instant: string): string {
  return `${instant.slice(0, 19)}Z`;
}
