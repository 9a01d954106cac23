import { randomUUID } from 'node:crypto';
import type { Command } from 'commander';
import { connect } from '#cli/connection.ts';
import type { Context, JsonOption } from '#cli/context.ts';
import { type ExitCode, exitCodes } from '#cli/errors.ts';
import { formatJson } from '#cli/output.ts';
import { parseRun } from '#cli/project/project-here.ts';
import { reportRun } from '#cli/show/run-line.ts';
import { formatVerdict } from '#cli/show/verdict.ts';
import { exitCodeOf, followRun, tellOutcome } from '#cli/wait.ts';
import { parsePriority } from '#cli/words/priorities.ts';
import type { Verdict } from '#contract/verdicts.ts';
import type { Priority } from '#core/priority.ts';
import type { Client } from '#sdk/client.ts';

interface ReproduceOptions extends JsonOption {
  priority?: Priority;
  wait: boolean;
}

export function addReproduceCommand(program: Command, context: Context): void {
  program
    .command('reproduce')
    .summary('do a run again and say whether the result holds')
    .description(
      'Runs the same commit with the same parameters, seed, data and packages, all as they are kept on the server, takes no kept result, and compares: exit code 0 when it is identical or equivalent, 1 when it is different, 3 when something it was made from is gone. Needs nothing but the server.',
    )
    .argument('<run>', 'PROJECT/NUMBER, or NUMBER inside a checkout')
    .option('--priority <1-5>', '1 is served first, 5 last; 3 when absent', parsePriority)
    .option('--no-wait', 'only submit it; the verdict is shown with both runs')
    .option('--json', 'print what the API answers: the verdict, or the run where there is none')
    .action((run: string, options: ReproduceOptions) => reproduce(context, run, options));
}

async function reproduce(context: Context, text: string, options: ReproduceOptions): Promise<void> {
  const { client, server } = await connect(context);
  const body = options.priority === undefined ? {} : { priority: options.priority };
  const original = await parseRun(context, text);
  const run = await client.runs.reproduce(original, body, { idempotencyKey: randomUUID() });
  if (!options.wait) return reportRun(context, run, options, `reproduces ${original}`);
  context.terminal.note(`${run.label}  ${server.url}/api/v1/runs/${encodeURIComponent(run.label)}`);
  process.exitCode = await waitForVerdict(context, client, run.label, options);
}

async function waitForVerdict(context: Context, client: Client, label: string, options: JsonOption): Promise<ExitCode> {
  const ended = await followRun(context, client, label);
  if (ended === null) return exitCodes.interrupted;
  const { items } = await client.runs.verdicts(ended.id);
  const verdict = items.find(({ run }) => run === ended.label);
  if (verdict === undefined) {
    tellOutcome(context.terminal, ended, options);
    return exitCodeOf(ended);
  }
  context.terminal.write(options.json ? formatJson(verdict) : formatVerdict(context.terminal, verdict));
  return exitCodeOfVerdict[verdict.report.verdict];
}

const exitCodeOfVerdict: Record<Verdict['report']['verdict'], ExitCode> = {
  identical: exitCodes.ok,
  equivalent: exitCodes.ok,
  different: exitCodes.failed,
  'not-reproducible': exitCodes.notReproducible,
};
