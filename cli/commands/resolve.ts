import { Argument, type Command } from 'commander';
import { connectClient } from '#cli/connection.ts';
import type { Context, JsonOption } from '#cli/context.ts';
import { parseRun } from '#cli/project/project-here.ts';
import { reportRun } from '#cli/show/run-line.ts';

type Action = 'retry' | 'abort';

export function addResolveCommand(program: Command, context: Context): void {
  program
    .command('resolve')
    .summary('answer a run that needs attention')
    .argument('<run>', 'PROJECT/NUMBER, or NUMBER inside a checkout')
    .addArgument(new Argument('<action>', 'try again, or give up').choices(['retry', 'abort']))
    .option('--json', 'print what the API answers')
    .action((run: string, action: Action, options: JsonOption) => resolve(context, run, action, options));
}

async function resolve(context: Context, text: string, action: Action, options: JsonOption): Promise<void> {
  const client = await connectClient(context);
  const run = await client.runs.resolve(await parseRun(context, text), action);
  reportRun(context, run, options, action === 'retry' ? 'goes on' : 'is given up');
}
