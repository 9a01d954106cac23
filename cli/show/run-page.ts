// Everything about one run on one page.
import { describeHardware } from '#core/hardware.ts';
import { flattenParams } from '#core/params.ts';
import { defaultPriority } from '#core/priority.ts';
import type { Params } from '#core/project.ts';
import type { RunDatum } from '#contract/artifacts.ts';
import type { Metric } from '#contract/metrics.ts';
import type { Attempt, Run, Step } from '#contract/runs.ts';
import { type Cell, formatFields, formatTable, oneLine } from '#cli/output.ts';
import { formatDuration, formatNumber, formatSize } from './quantities.ts';
import { formatFailure, formatGate, formatHeadline } from './run-outcome.ts';
import { lookOf, styledStatus } from './statuses.ts';
import { describeTrigger } from './trigger.ts';
import { styledVerdict } from './verdict.ts';
import { describeDatum, describeEnvironment, describeStep } from './step-facts.ts';
import type { Terminal } from '#cli/terminal.ts';

export interface RunFacts {
  run: Run;
  metrics: readonly Metric[];
  data: readonly RunDatum[];
}

export function formatRun(terminal: Terminal, { run, metrics, data }: RunFacts): string {
  const sections: [string, string][] = [
    ['', formatHeadline(terminal, run) + formatFailure(terminal, run)],
    ['', formatSummary(terminal, run)],
    ['Steps', formatSteps(terminal, run)],
    ['Gate', formatGate(terminal, run)],
    ['Metrics', formatMetrics(terminal, metrics)],
    ['Parameters', formatParams(terminal, run)],
    ['Data', formatData(terminal, data)],
    ['Models', formatVersions(terminal, run)],
  ];
  return sections
    .filter(([, text]) => text !== '')
    .map(([title, text]) => (title === '' ? text : `${terminal.paint('bold', title)}\n${text}`))
    .join('\n');
}

function formatSummary(terminal: Terminal, run: Run): string {
  const environment = run.steps.find((step) => step.name === 'build-environment');
  return formatFields(terminal, [
    ['id', run.id],
    ['name', run.name],
    ['project', run.project],
    ['experiment', run.experiment],
    ['owner', run.owner],
    ['priority', run.priority === defaultPriority ? null : String(run.priority)],
    ['started by', run.trigger === null ? null : describeTrigger(run.trigger)],
    ['tags', run.tags.length === 0 ? null : run.tags.join(', ')],
    ['note', run.note],
    [
      'commit',
      run.commit === null ? null : `${run.commit.slice(0, 12)} ${run.branch ?? ''} ${run.commitMessage ?? ''}`,
    ],
    ['uncommitted', run.dirty ? 'changes are stored as a patch; not promotable' : null],
    ['command', run.command?.join(' ')],
    ['starts from', run.initFrom && `checkpoint set ${run.initFrom.set} of ${run.initFrom.run}, ${run.initFrom.step}`],
    ['seed', run.seed === null ? null : String(run.seed)],
    ['as of', run.asOf],
    ['reproduces', run.reproduces === null ? null : describeReproduction(run)],
    ['verdict', run.verdict === null ? null : styledVerdict(run.verdict)],
    ['environment', run.environmentKey === null ? null : environmentText(run.environmentKey, environment)],
    ['hardware', hardwareText(run)],
    ['submitted', run.submittedAt],
    ['started', run.startedAt],
    ['finished', run.finishedAt],
    ['may be deleted', run.deleteAfter === null ? null : `after ${run.deleteAfter}, because its gate failed`],
    ['may', run.actions.length === 0 ? null : run.actions.map((action) => `assay ${action} ${run.label}`).join('   ')],
    ['temporal', run.executions.at(-1)?.url],
  ]);
}

/** The verdict names the original by its label. */
function describeReproduction({ reproduces, reproducesOnly, verdict }: Run): string {
  const original = verdict?.as === 'reproduction' ? verdict.other : (reproduces ?? '');
  return reproducesOnly === null ? original : `${reproducesOnly} of ${original}`;
}

function environmentText(key: string, step: Step | undefined): string {
  return step?.facts ? `${key.slice(0, 12)}  ${describeEnvironment(step.facts)}` : key.slice(0, 12);
}

/** The machines that made the results; stages that ran on machines alike share a line. */
function hardwareText(run: Run): string | null {
  const made = run.steps.flatMap(({ name, attempts }) => {
    const hardware = attempts.findLast(({ startedAt }) => startedAt !== null)?.hardware;
    return hardware ? [{ name, text: describeHardware(hardware) }] : [];
  });
  const alike = Map.groupBy(made, ({ text }) => text);
  if (alike.size === 0) return null;
  if (alike.size === 1) return made[0]?.text ?? null;
  return [...alike].map(([text, stages]) => `${stages.map(({ name }) => name).join(', ')}: ${text}`).join('; ');
}

const stepColumns = [
  { title: '' },
  { title: 'step' },
  { title: 'status' },
  { title: 'time', right: true },
  { title: 'details', flexible: true },
];

function formatSteps(terminal: Terminal, run: Run): string {
  const rows = run.steps.flatMap((step): Cell[][] => [
    [
      { text: lookOf(step.status).mark, style: lookOf(step.status).style },
      step.name,
      styledStatus(step.status),
      step.durationMs === null ? '' : formatDuration(step.durationMs),
      describeStep(step),
    ],
    ...(isWorthShowing(step.attempts) ? step.attempts.map(attemptRow) : []),
  ]);
  return formatTable(terminal, stepColumns, rows);
}

function isWorthShowing(attempts: readonly Attempt[]): boolean {
  return attempts.length > 1 || attempts.some(({ restoredFrom }) => restoredFrom !== null);
}

/** From where an attempt went on, and what people should know of its checkpoints. */
function describeRestored({ restoredFrom, facts, status }: Attempt): string {
  // A stage that succeeded has its notes beside it.
  const notes = status === 'succeeded' || !Array.isArray(facts?.notes) ? [] : (facts.notes as string[]);
  const from =
    restoredFrom === null
      ? []
      : [`from checkpoint set ${restoredFrom.set} of ${restoredFrom.run}, attempt ${restoredFrom.attempt}`];
  return [...from, ...notes].map((text) => `, ${oneLine(text)}`).join('');
}

function attemptRow(attempt: Attempt): Cell[] {
  const { startedAt, finishedAt, failure, peakMemoryBytes } = attempt;
  const ms = startedAt === null || finishedAt === null ? null : Date.parse(finishedAt) - Date.parse(startedAt);
  const memory = peakMemoryBytes === null ? '' : `, peak ${formatSize(peakMemoryBytes)}`;
  return [
    '',
    `  attempt ${attempt.attempt}`,
    attempt.status,
    ms === null ? '' : formatDuration(ms),
    `${attempt.node}${memory}${describeRestored(attempt)}${failure === null ? '' : `: ${oneLine(failure.sentence)}`}`,
  ];
}

const metricColumns = [
  { title: 'metric' },
  { title: 'stage' },
  { title: 'last', right: true },
  { title: 'min', right: true },
  { title: 'max', right: true },
  { title: 'points', right: true },
];

function formatMetrics(terminal: Terminal, metrics: readonly Metric[]): string {
  const rows = metrics.map((metric): Cell[] => [
    metric.key,
    metric.step,
    formatNumber(metric.last),
    formatNumber(metric.min),
    formatNumber(metric.max),
    String(metric.count),
  ]);
  return rows.length === 0 ? '' : formatTable(terminal, metricColumns, rows);
}

function formatParams(terminal: Terminal, run: Run): string {
  const params = (run.params ?? run.overrides) as Params;
  const changed = new Set(Object.keys(run.overrides));
  const rows = flattenParams(params).map(([name, value]): Cell[] => [
    name,
    typeof value === 'string' ? value : JSON.stringify(value),
    changed.has(name) ? { text: 'given', style: 'yellow' } : '',
  ]);
  const columns = [{ title: 'parameter' }, { title: 'value', flexible: true }, { title: '' }];
  return rows.length === 0 ? '' : formatTable(terminal, columns, rows);
}

const dataColumns = [{ title: 'data' }, { title: 'to' }, { title: 'from' }, { title: 'facts', flexible: true }];

function formatData(terminal: Terminal, data: readonly RunDatum[]): string {
  const rows = data.map((datum): Cell[] => [
    datum.name,
    datum.to,
    datum.kind === 'dataset' ? `${datum.dataset} version ${datum.datasetVersion}` : `query as of ${datum.asOf}`,
    describeDatum(datum.facts),
  ]);
  return rows.length === 0 ? '' : formatTable(terminal, dataColumns, rows);
}

function formatVersions(terminal: Terminal, run: Run): string {
  const rows = run.versions.map(({ model, version, aliases }): Cell[] => [model, String(version), aliases.join(' ')]);
  const columns = [{ title: 'model' }, { title: 'version' }, { title: 'aliases' }];
  return rows.length === 0 ? '' : formatTable(terminal, columns, rows);
}
