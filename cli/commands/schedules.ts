import { randomUUID } from 'node:crypto';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { connectClient } from '#cli/connection.ts';
import type { Context, JsonOption } from '#cli/context.ts';
import { type Cell, formatJson, formatTable } from '#cli/output.ts';
import { collectPages } from '#cli/pages.ts';
import { projectNameHere } from '#cli/project/project-here.ts';
import { reportRun } from '#cli/show/run-line.ts';
import { formatSchedule, outcomeOf, sourceOf, stateOf, utc } from '#cli/show/schedule-page.ts';
import { collect, parseAssignments } from '#cli/words/assignments.ts';
import { parseInstant } from '#cli/words/instants.ts';
import type { Schedule } from '#contract/schedules.ts';
import { priorities, type Priority } from '#core/priority.ts';
import { parseDuration } from '#core/quantities.ts';
import { type Overlap, overlaps } from '#core/schedule.ts';
import type { Client } from '#sdk/client.ts';

interface ProjectOption extends JsonOption {
  project?: string;
}

/** What `create` and `change` have in common. */
interface ChoiceOptions extends ProjectOption {
  timezone?: string;
  ref?: string;
  param?: string[];
  experiment?: string;
  tag?: string[];
  priority?: Priority;
  overlap?: Overlap;
  catchUp?: number;
}

interface RangeOptions extends ProjectOption {
  from: string;
  to: string;
  yes?: boolean;
}

const columns = [
  { title: 'schedule' },
  { title: 'when', flexible: true },
  { title: 'next' },
  { title: 'state' },
  { title: 'from' },
  { title: 'latest' },
];
const timeColumns = [{ title: 'due' }, { title: 'utc' }, { title: 'outcome', flexible: true }];
const ticksShown = 10;

export function addSchedulesCommand(program: Command, context: Context): void {
  const schedules = program
    .command('schedules')
    .summary('let runs recur: create, pause, trigger and backfill schedules');
  const add = (name: string, summary: string) =>
    schedules
      .command(name, name === 'ls' ? { isDefault: true } : {})
      .summary(summary)
      .option('--project <name>', "the checkout's project when absent")
      .option('--json', 'print what the API answers');

  add('ls', 'list the schedules of a project').action((options: ProjectOption) => list(context, options));
  add('show', 'show one: in words, its next five times, what became of the latest')
    .argument('<name>', 'the schedule')
    .action((name: string, options: ProjectOption) => show(context, name, options));
  withChoices(add('create', 'create a schedule'))
    .argument('<name>', 'its name, for example nightly')
    .argument('<cron>', 'minute, hour, day, month and weekday in quotes, for example "0 3 * * *"')
    .action((name: string, cron: string, options: ChoiceOptions) => create(context, name, cron, options));
  withChoices(add('change', 'change a schedule'))
    .argument('<name>', 'the schedule')
    .option('--cron <text>', 'other times')
    .action((name: string, options: ChoiceOptions & { cron?: string }) => change(context, name, options));
  add('pause', 'let it start nothing until it is resumed')
    .argument('<name>', 'the schedule')
    .option('--note <text>', 'why, for others')
    .action((name: string, options: ProjectOption & { note?: string }) =>
      act(context, name, options, 'is paused', (client, project) =>
        client.schedules.pause(project, name, options.note ?? null),
      ),
    );
  add('resume', 'let it go on; what was due meanwhile is not made up for')
    .argument('<name>', 'the schedule')
    .action((name: string, options: ProjectOption) =>
      act(context, name, options, 'goes on', (client, project) => client.schedules.resume(project, name)),
    );
  add('trigger', 'start its run now')
    .argument('<name>', 'the schedule')
    .action((name: string, options: ProjectOption) => trigger(context, name, options));
  add('backfill', 'start a run for each past time of a range that has none')
    .description(
      'Shows the times and what became of them; with --yes it starts the missing runs, each with its own time as its as-of.',
    )
    .argument('<name>', 'the schedule')
    .requiredOption('--from <instant>', 'times from this one on, for example 2026-03-01', parseInstant)
    .requiredOption('--to <instant>', 'up to this one, which is included', parseInstant)
    .option('--yes', 'start the runs')
    .action((name: string, options: RangeOptions) => backfill(context, name, options));
  add('rm', 'delete a schedule; its runs stay')
    .argument('<name>', 'the schedule')
    .action((name: string, options: ProjectOption) => remove(context, name, options));
}

function withChoices(command: Command): Command {
  return command
    .option('--timezone <name>', 'the zone of its times, for example Europe/Berlin; UTC when absent')
    .option('--ref <ref>', 'the branch, tag or commit to run; the default branch when absent')
    .option('-P, --param <name=value>', 'override a parameter; may be repeated', collect)
    .option('--experiment <name>', 'the group its runs belong to')
    .option('--tag <tag>', 'a tag of its runs; may be repeated', collect)
    .option('--priority <number>', 'from 1, served first, to 5', parsePriority)
    .addOption(new Option('--overlap <rule>', 'what it does while its run before is open').choices([...overlaps]))
    .option('--catch-up <duration>', 'how late it may come and still start a run; 1h when absent', parseSeconds);
}

function parsePriority(text: string): Priority {
  const priority = priorities.find((known) => String(known) === text);
  if (priority !== undefined) return priority;
  throw new InvalidArgumentError('Expected a whole number from 1 to 5.');
}

function parseSeconds(text: string): number {
  const ms = parseDuration(text);
  if (ms !== null && ms > 0) return Math.floor(ms / 1000);
  throw new InvalidArgumentError('Expected a duration such as 90m or 2h.');
}

function choiceOf({ timezone, ref, param, experiment, tag, priority, overlap, catchUp }: ChoiceOptions) {
  return {
    ...(timezone === undefined ? {} : { timezone }),
    ...(ref === undefined ? {} : { ref }),
    ...(param === undefined ? {} : { params: parseAssignments(param) }),
    ...(experiment === undefined ? {} : { experiment }),
    ...(tag === undefined ? {} : { tags: tag }),
    ...(priority === undefined ? {} : { priority }),
    ...(overlap === undefined ? {} : { overlap }),
    ...(catchUp === undefined ? {} : { catchUpSeconds: catchUp }),
  };
}

async function start(context: Context, options: ProjectOption): Promise<{ client: Client; project: string }> {
  const client = await connectClient(context);
  return { client, project: options.project ?? (await projectNameHere(context)) };
}

async function list(context: Context, options: ProjectOption): Promise<void> {
  const { terminal } = context;
  const { client, project } = await start(context, options);
  const items = await collectPages((page) => client.schedules.list(project, page));
  if (options.json) return terminal.write(formatJson({ items, nextCursor: null }));
  if (items.length === 0) return terminal.note(`${project} has no schedules.`);
  const rows = items.map((schedule): Cell[] => [
    schedule.name,
    schedule.words,
    schedule.next?.[0]?.local.replace('T', ' ') ?? '',
    stateOf(schedule),
    sourceOf(schedule),
    schedule.lastTick === null ? '' : outcomeOf(schedule.lastTick),
  ]);
  terminal.write(formatTable(terminal, columns, rows));
}

async function show(context: Context, name: string, options: ProjectOption): Promise<void> {
  const { terminal } = context;
  const { client, project } = await start(context, options);
  const [schedule, ticks] = await Promise.all([
    client.schedules.get(project, name),
    client.schedules.ticks(project, name, { limit: ticksShown }),
  ]);
  if (options.json) return terminal.write(formatJson({ ...schedule, ticks: ticks.items }));
  terminal.write(formatSchedule(terminal, schedule, ticks.items));
}

async function create(context: Context, name: string, cron: string, options: ChoiceOptions): Promise<void> {
  const { client, project } = await start(context, options);
  const body = { name, cron, ...choiceOf(options) };
  const schedule = await client.schedules.create(project, body, { idempotencyKey: randomUUID() });
  report(context, schedule, options);
}

async function change(context: Context, name: string, options: ChoiceOptions & { cron?: string }): Promise<void> {
  const { client, project } = await start(context, options);
  const { cron } = options;
  const body = { ...(cron === undefined ? {} : { cron }), ...choiceOf(options) };
  report(context, await client.schedules.change(project, name, body), options);
}

function report({ terminal }: Context, schedule: Schedule, { json }: JsonOption): void {
  terminal.write(json ? formatJson(schedule) : formatSchedule(terminal, schedule, []));
}

async function act(
  context: Context,
  name: string,
  options: ProjectOption,
  what: string,
  call: (client: Client, project: string) => Promise<Schedule>,
): Promise<void> {
  const { client, project } = await start(context, options);
  const schedule = await call(client, project);
  if (options.json) return context.terminal.write(formatJson(schedule));
  context.terminal.note(`${name} of ${project} ${what}.`);
}

async function trigger(context: Context, name: string, options: ProjectOption): Promise<void> {
  const { client, project } = await start(context, options);
  const run = await client.schedules.trigger(project, name, { idempotencyKey: randomUUID() });
  reportRun(context, run, options, `is ${run.status}, started by schedule ${name}`);
}

async function backfill(context: Context, name: string, { from, to, yes, ...options }: RangeOptions): Promise<void> {
  const { terminal } = context;
  const { client, project } = await start(context, options);
  if (yes) {
    const filled = await client.schedules.backfill(project, name, { from, to });
    if (options.json) return terminal.write(formatJson(filled));
    const rows = filled.items.map((item) => timeRow(item, `${item.runLabel}${item.repeated ? ' had run before' : ''}`));
    terminal.write(formatTable(terminal, timeColumns, rows));
    return terminal.note(counted(filled.items.filter((item) => !item.repeated).length, 'started'));
  }
  const times = await client.schedules.times(project, name, { from, to });
  if (options.json) return terminal.write(formatJson(times));
  const rows = times.items.map((item) =>
    timeRow(item, item.tick === null ? 'would run' : wouldDo(outcomeOf(item.tick))),
  );
  terminal.write(formatTable(terminal, timeColumns, rows));
  const missing = times.items.filter(({ tick }) => tick?.run == null).length;
  terminal.note(
    `${counted(missing, 'to start')} Nothing was started; add --yes to start ${missing === 1 ? 'it' : 'them'}.`,
  );
}

function timeRow({ at, local }: { at: string; local: string }, outcome: string): Cell[] {
  return [local.replace('T', ' '), utc(at), outcome];
}

function wouldDo(outcome: string): string {
  return outcome.startsWith('skipped') ? `would run (${outcome})` : outcome;
}

function counted(count: number, what: string): string {
  return `${count} ${count === 1 ? 'run' : 'runs'} ${what}.`;
}

async function remove(context: Context, name: string, options: ProjectOption): Promise<void> {
  const { client, project } = await start(context, options);
  await client.schedules.delete(project, name);
  context.terminal.note(`${name} of ${project} is deleted. Its runs stay.`);
}
