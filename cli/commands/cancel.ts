import type { Command } from 'commander';
import { connectClient } from '#cli/connection.ts';
import type { Context, JsonOption } from '#cli/context.ts';
import { parseRun } from '#cli/project/project-here.ts';
import { reportRun } from '#cli/show/run-line.ts';

export function addCancelCommand(program: Command, context: Context): void {
  program
    .command('cancel')
    .summary('stop a run')
    .description('Asks the run to stop. Its stages get SIGTERM, their grace time, then SIGKILL.')
    .argument('<run>', 'PROJECT/NUMBER, or NUMBER inside a checkout')
    .option('--json', 'print what the API answers')
    .action((run: string, options: JsonOption) => cancel(context, run, options));
}

async function cancel(context: Context, text: string, options: JsonOption): Promise<void> {
  const client = await connectClient(context);
  const run = await client.runs.cancel(await parseRun(context, text));
  reportRun(context, run, options, run.status === 'cancelled' ? 'is cancelled' : 'is stopping');
}
