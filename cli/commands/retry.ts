import { randomUUID } from 'node:crypto';
import type { Command } from 'commander';
import { connectClient } from '#cli/connection.ts';
import type { Context, JsonOption } from '#cli/context.ts';
import { parseRun } from '#cli/project/project-here.ts';
import { reportRun } from '#cli/show/run-line.ts';
import { waitForRun } from '#cli/wait.ts';

interface RetryOptions extends JsonOption {
  wait?: boolean;
}

export function addRetryCommand(program: Command, context: Context): void {
  program
    .command('retry')
    .summary('let a failed or cancelled run go on')
    .description('Same commit, same parameters, same data: the run goes on in a new execution.')
    .argument('<run>', 'PROJECT/NUMBER, or NUMBER inside a checkout')
    .option('--wait', "stay until it ends; the exit code is the gate's result")
    .option('--json', 'print what the API answers')
    .action((run: string, options: RetryOptions) => retry(context, run, options));
}

async function retry(context: Context, text: string, options: RetryOptions): Promise<void> {
  const client = await connectClient(context);
  const run = await client.runs.retry(await parseRun(context, text), { idempotencyKey: randomUUID() });
  if (!options.wait) return reportRun(context, run, options, 'is queued again');
  process.exitCode = await waitForRun(context, client, run.label, options);
}
