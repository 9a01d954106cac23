// Two runs side by side: the sentence, then each cause, then what came of it.
import type { Change, DataChange, MetricChange, RunDiff } from '#contract/diff.ts';
import { type Cell, type Column, formatTable, logLine, oneLine } from '#cli/output.ts';
import type { Style, Terminal } from '#cli/terminal.ts';
import { formatDuration, formatSize } from './quantities.ts';

export interface DiffPageOptions {
  wholePatch: boolean;
  /** Long lists whole. */
  all: boolean;
}

/** In a pipe: the sentence, then one line per difference that begins with its cause. */
export function formatDiff(terminal: Terminal, diff: RunDiff, options: DiffPageOptions): string {
  if (!terminal.isTerminal) return `${diff.sentence}\n${formatTable(terminal, [], plainRows(diff))}`;
  const page = createPage(terminal, diff, options);
  const sections: [string, string][] = [
    ['Code', page.code()],
    ['Parameters', page.changes('parameter', diff.parameters)],
    ['Seed', page.changes('', diff.seed === null ? [] : [diff.seed])],
    ['Data', page.data()],
    ['Packages', page.changes('package', diff.packages)],
    ['Environment', page.changes('', diff.environment)],
    ['Stages', page.changes('setting', diff.stages, (change) => `${change.stage} ${change.name}`)],
    ['Hardware', page.changes('', diff.hardware, (change) => `${change.name} (${change.stages.join(', ')})`)],
    ['Gate', page.changes('rule', diff.gate)],
    [count('Metrics', judgedMetrics(diff)), page.metrics()],
    [count('Files', diff.results.artifacts.differing), page.files()],
    ['Durations', page.durations()],
  ];
  const notes = diff.notes.map((note) => `${terminal.paint('yellow', 'note:')} ${oneLine(note)}\n`).join('');
  const shown = sections.filter(([, text]) => text !== '');
  return [
    `${terminal.paint('bold', oneLine(diff.sentence))}\n${notes}`,
    ...shown.map(([title, text]) => `${terminal.paint('bold', title)}\n${text}`),
  ].join('\n');
}

const rowsMax = 20;
const patchLinesMax = 40;
const valueMax = 48;

const marks: Record<Change['what'], { mark: string; style: Style }> = {
  added: { mark: '+', style: 'green' },
  removed: { mark: '-', style: 'red' },
  changed: { mark: '~', style: 'yellow' },
};

function createPage(terminal: Terminal, diff: RunDiff, { wholePatch, all }: DiffPageOptions) {
  const sides = [{ title: diff.before.label }, { title: diff.after.label }];

  const table = (columns: Column[], rows: Cell[][], total = rows.length): string => {
    const shown = all ? rows : rows.slice(0, rowsMax);
    const left = total - shown.length;
    const hint = left === 0 ? '' : terminal.paint('dim', `and ${left} more${all ? '' : '; --all shows them'}`);
    return rows.length === 0 ? '' : formatTable(terminal, columns, shown) + (hint === '' ? '' : `${hint}\n`);
  };

  const value = (given: unknown): string => {
    const text = typeof given === 'string' ? given : JSON.stringify(given);
    return all || text.length <= valueMax ? text : `${text.slice(0, valueMax - 1)}…`;
  };

  const pair = ({ what, before, after }: Pick<Change, 'what' | 'before' | 'after'>): Cell[] => [
    what === 'added' ? '' : { text: value(before), style: 'red' },
    what === 'removed' ? '' : { text: value(after), style: 'green' },
  ];

  return {
    changes<C extends Change>(title: string, changes: readonly C[], name: (change: C) => string = (one) => one.name) {
      const rows = changes.map((change): Cell[] => [marks[change.what].mark, name(change), ...pair(change)]);
      return table([{ title: '' }, { title }, ...sides], rows);
    },

    code(): string {
      const { code, before, after } = diff;
      if (code === null) return '';
      const rows = code.files.map((file): Cell[] => [
        { text: marks[file.what].mark, style: marks[file.what].style },
        file.path,
        file.linesAdded === null
          ? 'binary'
          : { text: file.linesAdded === 0 ? '' : `+${file.linesAdded}`, style: 'green' },
        { text: file.linesRemoved === null || file.linesRemoved === 0 ? '' : `-${file.linesRemoved}`, style: 'red' },
        file.counts ? '' : { text: 'enters no result by itself', style: 'dim' },
      ]);
      const commits = `${commitOf(before)} → ${commitOf(after)}\n`;
      const columns = [
        { title: '' },
        { title: 'file', flexible: true },
        { title: '+', right: true },
        { title: '-', right: true },
        { title: '' },
      ];
      const files = table(columns, rows, code.files.length + code.filesLeftOut);
      return terminal.paint('dim', commits) + files + patchOf(terminal, code, wholePatch);
    },

    data(): string {
      return diff.data.map((change) => datum(change)).join('');
    },

    metrics(): string {
      const items = diff.results.metrics.items.filter(({ timing }) => !timing);
      const columns = [
        { title: 'metric' },
        { title: 'stage' },
        ...sides.map((side) => ({ ...side, right: true })),
        { title: 'change', right: true },
        { title: '' },
      ];
      return table(columns, items.map(metricRow), judgedMetrics(diff));
    },

    files(): string {
      const { items, differing } = diff.results.artifacts;
      const rows = items.map(({ stage, path, what, before, after }): Cell[] => [
        { text: marks[what].mark, style: marks[what].style },
        path,
        stage,
        before === null ? '' : formatSize(before.sizeBytes),
        after === null ? '' : formatSize(after.sizeBytes),
      ]);
      return table([{ title: '' }, { title: 'file', flexible: true }, { title: 'stage' }, ...sides], rows, differing);
    },

    /** Metrics that measure time stand with the times. */
    durations(): string {
      const steps = diff.durations.map(({ step, before, after }): Cell[] => [step, timeText(before), timeText(after)]);
      const timed = diff.results.metrics.items.filter(({ timing }) => timing);
      const metrics = timed.map((metric): Cell[] => [
        `${metric.stage} ${metric.key}`,
        numberText(metric.before),
        numberText(metric.after),
      ]);
      return table([{ title: 'step' }, ...sides.map((side) => ({ ...side, right: true }))], [...steps, ...metrics]);
    },
  };

  function datum({ name, summary, before, after, columns, files, profile }: DataChange): string {
    const from = [before?.source, after?.source].filter((text) => text !== undefined);
    const sources = from[0] === from[1] ? from[0] : from.join(' → ');
    const instants =
      before === null || after === null || before.asOf === after.asOf ? '' : `, as of ${before.asOf} → ${after.asOf}`;
    const head = `${terminal.paint('bold', name)}: ${oneLine(summary)} ${terminal.paint('dim', `(${oneLine(sources ?? '')}${instants})`)}\n`;
    const columnRows = columns.map((change): Cell[] => [
      marks[change.what].mark,
      `column ${change.name}`,
      ...pair(change),
    ]);
    const profileRows = (profile ?? []).flatMap(({ column, statistics }) =>
      statistics.map((change, index): Cell[] => ['', index === 0 ? column : '', change.name, ...pair(change)]),
    );
    const fileRows = (files?.items ?? []).map(({ path, what, ...sizes }): Cell[] => [
      { text: marks[what].mark, style: marks[what].style },
      path,
      sizes.before === null ? '' : formatSize(sizes.before.sizeBytes),
      sizes.after === null ? '' : formatSize(sizes.after.sizeBytes),
    ]);
    return [
      head,
      table([{ title: '' }, { title: 'column' }, ...sides], columnRows),
      table([{ title: '' }, { title: 'file', flexible: true }, ...sides], fileRows, files?.differing),
      table([{ title: '' }, { title: 'column' }, { title: 'statistic' }, ...sides], profileRows),
    ].join('');
  }
}

/** Those that do not measure time. */
function judgedMetrics({ results: { metrics } }: RunDiff): number {
  return metrics.differing - metrics.items.filter(({ timing }) => timing).length;
}

function count(title: string, number: number): string {
  return number > rowsMax ? `${title} (${number} differ)` : title;
}

function commitOf({ label, commit, branch, commitMessage }: RunDiff['before']): string {
  const words = [commit?.slice(0, 10), branch, commitMessage].filter((word) => word !== null && word !== undefined);
  return words.length === 0 ? label : oneLine(words.join(' ')).slice(0, 60);
}

/** A short patch is shown by itself; a long one is asked for. */
function patchOf(terminal: Terminal, { patch, isPatchCut }: NonNullable<RunDiff['code']>, whole: boolean): string {
  const lines = patch.split('\n').slice(0, -1);
  if (lines.length === 0) return '';
  if (!whole && (isPatchCut || lines.length > patchLinesMax)) {
    return `${terminal.paint('dim', `${isPatchCut ? 'a long patch' : `a patch of ${lines.length} lines`}; --code shows it`)}\n`;
  }
  const cut = isPatchCut ? `${terminal.paint('yellow', 'the patch is longer and was cut here')}\n` : '';
  return `\n${lines.map((line) => `${patchLine(terminal, line)}\n`).join('')}${cut}`;
}

function patchLine(terminal: Terminal, line: string): string {
  const text = logLine(line);
  if (/^(?:diff|index|---|\+\+\+|new file|deleted file|old mode|new mode) /.test(text))
    return terminal.paint('bold', text);
  if (text.startsWith('@@')) return terminal.paint('cyan', text);
  if (text.startsWith('+')) return terminal.paint('green', text);
  return text.startsWith('-') ? terminal.paint('red', text) : text;
}

function metricRow(metric: MetricChange): Cell[] {
  const { key, stage, what, before, after, direction, curveOnly } = metric;
  const style: Style = direction === 'better' ? 'green' : direction === 'worse' ? 'red' : 'dim';
  const word = curveOnly ? 'other points, same value' : what === 'changed' ? (direction ?? '') : what;
  return [key, stage, numberText(before), numberText(after), deltaText(metric), { text: word, style }];
}

/** `+0.03 (+3.3 %)`. */
function deltaText({ delta, relative }: MetricChange): string {
  if (delta === null || delta === 0) return '';
  const part = relative === null ? '' : ` (${signed(Number((relative * 100).toPrecision(2)))} %)`;
  return `${signed(Number(delta.toPrecision(3)))}${part}`;
}

function signed(value: number): string {
  return value > 0 ? `+${value}` : String(value);
}

function numberText(value: MetricChange['before']): string {
  return typeof value === 'number' ? String(Number(value.toPrecision(6))) : (value ?? '');
}

function timeText(time: RunDiff['durations'][number]['before']): Cell {
  if (time === null) return { text: 'no such step', style: 'dim' };
  if (time.reusedFrom !== null) return { text: `reused from ${time.reusedFrom}`, style: 'dim' };
  return time.ms === null ? { text: time.status, style: 'dim' } : formatDuration(time.ms);
}

function plainRows(diff: RunDiff): Cell[][] {
  const values = ({ what, before, after }: Pick<Change, 'what' | 'before' | 'after'>): string[] => [
    what,
    what === 'added' ? '' : textOf(before),
    what === 'removed' ? '' : textOf(after),
  ];
  const rows = (cause: string, changes: readonly Change[]) => changes.map((one) => [cause, one.name, ...values(one)]);
  const { results } = diff;
  return [
    ...diff.notes.map((note) => ['note', note]),
    ...(diff.code?.files ?? []).map((file) => [
      'code',
      file.path,
      file.what,
      textOf(file.linesRemoved),
      textOf(file.linesAdded),
    ]),
    ...rows('parameter', diff.parameters),
    ...rows('seed', diff.seed === null ? [] : [diff.seed]),
    ...diff.data.map(({ name, what, before, after, summary }) => [
      'data',
      name,
      what,
      before?.digest ?? '',
      after?.digest ?? '',
      summary,
    ]),
    ...rows('package', diff.packages),
    ...rows('environment', diff.environment),
    ...diff.stages.map((one) => ['stage', `${one.stage} ${one.name}`, ...values(one)]),
    ...diff.hardware.map((one) => ['hardware', `${one.stages.join(',')} ${one.name}`, ...values(one)]),
    ...rows('gate', diff.gate),
    ...(results.gateResult === null
      ? []
      : [['result', 'gate', 'changed', results.gateResult.before ?? '', results.gateResult.after ?? '']]),
    ...results.metrics.items.map((one) => ['metric', `${one.stage} ${one.key}`, ...values(one), one.direction ?? '']),
    ...results.artifacts.items.map((one) => [
      'file',
      `${one.stage} ${one.path}`,
      one.what,
      one.before?.sha256 ?? '',
      one.after?.sha256 ?? '',
    ]),
  ];
}

function textOf(value: unknown): string {
  if (value === null) return '';
  return typeof value === 'string' ? value : JSON.stringify(value);
}
