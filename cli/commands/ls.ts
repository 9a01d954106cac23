import type { Command } from 'commander';
import { connectClient } from '#cli/connection.ts';
import type { Context, JsonOption } from '#cli/context.ts';
import { type Cell, formatJson, formatTable } from '#cli/output.ts';
import { formatAge, formatDuration } from '#cli/show/quantities.ts';
import { styledGate, styledStatus } from '#cli/show/statuses.ts';
import { describeTrigger } from '#cli/show/trigger.ts';
import { styleOf } from '#cli/show/verdict.ts';
import { parseCount } from '#cli/words/counts.ts';
import type { RunSummary } from '#contract/runs.ts';

interface ListOptions extends JsonOption {
  project?: string;
  experiment?: string;
  status?: string;
  owner?: string;
  tag?: string;
  filter?: string;
  sort?: string;
  limit: number;
}

const columns = [
  { title: 'run' },
  { title: 'status' },
  { title: 'gate' },
  { title: 'name', flexible: true },
  { title: 'commit' },
  { title: 'owner' },
  { title: 'submitted' },
  { title: 'time', right: true },
];
const startedBy = { title: 'started by' };
const verdictColumn = { title: 'verdict' };

/** Shown while something waits; it takes the room that the name had. */
const withReason = [
  ...columns.map((column) => ({ ...column, flexible: false })),
  { title: 'waits for', flexible: true },
];

const pageMax = 500;

export function addLsCommand(program: Command, context: Context): void {
  program
    .command('ls')
    .alias('list')
    .summary('list and search runs')
    .option('--project <name>', 'only runs of this project')
    .option('--experiment <name>', 'only runs of this experiment')
    .option('--status <list>', 'only these statuses, for example running,waiting')
    .option('--owner <name>', 'only runs of this person')
    .option('--tag <tag>', 'only runs with this tag')
    .option('--filter <text>', `comparisons, for example "metrics.accuracy > 0.9 and params.lr = '0.1'"`)
    .option('--sort <text>', 'for example "metrics.accuracy desc"; newest first when absent')
    .option('-n, --limit <count>', 'how many at most', parseCount, 20)
    .option('--json', 'print what the API answers')
    .action((options: ListOptions) => list(context, options));
}

async function list(context: Context, { json, limit, ...query }: ListOptions): Promise<void> {
  const { terminal } = context;
  const client = await connectClient(context);
  const items: RunSummary[] = [];
  let nextCursor: string | null = null;
  do {
    const wanted = Math.min(pageMax, limit - items.length);
    const page = await client.runs.list({ ...query, limit: wanted, ...(nextCursor ? { cursor: nextCursor } : {}) });
    items.push(...page.items);
    nextCursor = page.nextCursor;
  } while (nextCursor !== null && items.length < limit);
  if (json) return terminal.write(formatJson({ items, nextCursor }));
  if (items.length === 0) return terminal.note('No runs found.');
  // On a terminal, where room is scarce, only when there is something to say.
  const isWaiting = !terminal.isTerminal || items.some((run) => run.waitingReason !== null);
  const isStarted = !terminal.isTerminal || items.some((run) => run.trigger !== null);
  const isJudged = !terminal.isTerminal || items.some((run) => run.verdict !== null);
  const rows = items.map((run) => [
    ...rowOf(context, run),
    ...(isWaiting ? [run.waitingReason ?? ''] : []),
    ...(isJudged ? [verdictCell(run)] : []),
    ...(isStarted ? [triggerCell(run)] : []),
  ]);
  const shown = [
    ...(isWaiting ? withReason : columns),
    ...(isJudged ? [verdictColumn] : []),
    ...(isStarted ? [startedBy] : []),
  ];
  terminal.write(formatTable(terminal, shown, rows));
  if (nextCursor !== null && terminal.isTerminal) terminal.note(`There are more; see them with -n ${limit * 5}.`);
}

function verdictCell({ verdict }: RunSummary): Cell {
  return verdict === null ? '' : { text: `${verdict.verdict} ${verdict.grade}`, style: styleOf(verdict.verdict) };
}

function triggerCell({ trigger }: RunSummary): Cell {
  return trigger === null ? '' : describeTrigger(trigger);
}

function rowOf({ terminal }: Context, run: RunSummary): Cell[] {
  return [
    run.label,
    styledStatus(run.status),
    styledGate(run.gateResult),
    run.name ?? '',
    run.commit?.slice(0, 8) ?? run.ref,
    run.owner,
    terminal.isTerminal ? formatAge(run.submittedAt, Date.now()) : run.submittedAt,
    run.durationMs === null ? '' : terminal.isTerminal ? formatDuration(run.durationMs) : String(run.durationMs),
  ];
}
