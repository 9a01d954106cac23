import { randomUUID } from 'node:crypto';
import { type Command, Option } from 'commander';
import { areAssignments, collect, parseAssignments } from '#cli/words/assignments.ts';
import { connect } from '#cli/connection.ts';
import type { Context, JsonOption } from '#cli/context.ts';
import { parseInstant } from '#cli/words/instants.ts';
import { formatJson } from '#cli/output.ts';
import { parseRun } from '#cli/project/project-here.ts';
import { type CodeChoice, provideCode } from '#cli/project/provide-code.ts';
import { parsePriority } from '#cli/words/priorities.ts';
import { parseSeed } from '#cli/words/seeds.ts';
import { waitForRun } from '#cli/wait.ts';
import type { RunSummary, SubmitRun } from '#contract/runs.ts';
import { parseInitFrom } from '#core/checkpoint.ts';
import type { Priority } from '#core/priority.ts';
import { UnreachableError } from '#sdk/api-error.ts';
import type { Client } from '#sdk/client.ts';

interface RunOptions extends JsonOption {
  param?: string[];
  name?: string;
  tag?: string[];
  note?: string;
  experiment?: string;
  asOf?: string;
  seed?: number;
  like?: string;
  initFrom?: string;
  ref?: string;
  project?: string;
  dirty?: boolean;
  priority?: Priority;
  /** False: nothing is reused; else the stages whose results are not. */
  reuse: boolean | string[];
  wait?: boolean;
}

const submitsMax = 3;

export function addRunCommand(program: Command, context: Context): void {
  program
    .command('run')
    .summary('submit a run of this checkout')
    .description(
      "Sends HEAD if the server lacks it and submits a run: of the stages in assay.yaml, of the project's train.py when there is no such file, or of the COMMAND behind --. Words NAME=VALUE behind -- are parameters.",
    )
    .argument('[command...]', 'a command that replaces the stages, behind --')
    .option('-P, --param <name=value>', 'override a parameter; may be repeated', collect)
    .addOption(new Option('-S <name=value>', 'the same').argParser(collect).hideHelp())
    .option('--name <text>', 'a name for people')
    .option('--tag <tag>', 'a tag; may be repeated', collect)
    .option('--note <text>', 'a note')
    .option('--experiment <name>', 'the group of runs it belongs to')
    .option('--as-of <instant>', 'the instant data queries look from, for example 2026-03-01', parseInstant)
    .option('--seed <number>', 'another seed', parseSeed)
    .option('--like <run>', 'take commit, parameters, seed, as-of and command from this run where you give none')
    .option(
      '--init-from <run[:stage]>',
      'start a stage from the newest checkpoints of this run; they become part of its step key',
    )
    .option('--ref <ref>', 'a branch, tag or commit instead of HEAD')
    .option('--project <name>', 'the project; from assay.yaml or the folder when absent')
    .option('--dirty', 'run the uncommitted changes too; they are stored as a patch and bar promotion')
    .option('--priority <1-5>', '1 is served first, 5 last; 3 when absent', parsePriority)
    .option('--no-reuse [stage]', 'run every step again, or with =STAGE that one; may be repeated', collectStages)
    .option('--wait', "show the progress and stay until it ends; the exit code is the gate's result")
    .option('--json', 'print what the API answers')
    .action((words: string[], options: RunOptions & { S?: string[] }) =>
      run(context, words, { ...options, param: [...(options.S ?? []), ...(options.param ?? [])] }),
    );
}

function collectStages(stage: string, before: unknown): string[] {
  return collect(stage, Array.isArray(before) ? (before as string[]) : []);
}

async function run(context: Context, words: string[], options: RunOptions): Promise<void> {
  const { client, server } = await connect(context);
  const request = parseRequest(words, options);
  const like = options.like === undefined ? null : await client.runs.get(await parseRun(context, options.like));
  const initFrom = options.initFrom === undefined ? undefined : await parseInitial(context, options.initFrom);
  const code = await provideCode(context, client, { ...options, command: request.command ?? null }, like);
  const submitted = await submit(client, code, {
    ...request,
    ...defined({ like: like?.id, initFrom }),
  });
  if (options.wait) {
    context.terminal.note(`${submitted.label}  ${linkOf(server.url, submitted)}`);
    process.exitCode = await waitForRun(context, client, submitted.label, options);
  } else if (options.json) context.terminal.write(formatJson(submitted));
  else context.terminal.write(formatSubmitted(context, server.url, submitted));
}

async function parseInitial(context: Context, text: string): Promise<string> {
  const { run: named, step } = parseInitFrom(text);
  const reference = await parseRun(context, named);
  return step === null ? reference : `${reference}:${step}`;
}

/** What is asked for, apart from the code. Throws before anything is sent. */
function parseRequest(words: string[], options: RunOptions): SubmitRun {
  const isParams = areAssignments(words);
  const params = parseAssignments([...(options.param ?? []), ...(isParams ? words : [])]);
  const { name, tag, note, experiment, asOf, seed, priority } = options;
  return defined({
    params: Object.keys(params).length === 0 ? undefined : params,
    command: isParams || words.length === 0 ? undefined : words,
    name,
    tags: tag,
    note,
    experiment,
    asOf,
    seed,
    priority,
    reuse: options.reuse === false ? false : undefined,
    rerun: Array.isArray(options.reuse) ? options.reuse : undefined,
  });
}

/** Repeating is safe: the key makes every repetition the same run. */
async function submit(client: Client, code: CodeChoice, request: SubmitRun): Promise<RunSummary> {
  const idempotencyKey = randomUUID();
  const body = { ...code.body, ...request };
  for (let left = submitsMax; ; left -= 1) {
    try {
      return await client.runs.submit(code.project, body, { idempotencyKey });
    } catch (error) {
      if (!(error instanceof UnreachableError) || left <= 1) throw error;
    }
  }
}

function formatSubmitted({ terminal }: Context, url: string, run: RunSummary): string {
  const link = linkOf(url, run);
  if (!terminal.isTerminal) return `${run.label}\t${link}\n`;
  const next = `assay show ${run.label}   assay logs -f ${run.label}   assay cancel ${run.label}`;
  return `${terminal.paint('bold', run.label)} is ${run.status}  ${link}\n${terminal.paint('dim', next)}\n`;
}

function linkOf(url: string, run: RunSummary): string {
  return `${url}/api/v1/runs/${encodeURIComponent(run.label)}`;
}

function defined<T extends object>(values: { [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as T;
}
