import type { Command } from 'commander';
import { connectClient } from '#cli/connection.ts';
import type { Context, JsonOption } from '#cli/context.ts';
import { formatJson } from '#cli/output.ts';
import { parseRun } from '#cli/project/project-here.ts';
import { formatExplanation } from '#cli/show/explain-page.ts';

interface ExplainOptions extends JsonOption {
  with?: string;
  files?: boolean;
}

export function addExplainCommand(program: Command, context: Context): void {
  program
    .command('explain')
    .summary('say why steps ran or were reused, and what their keys are made of')
    .argument('<run>', 'PROJECT/NUMBER, or NUMBER inside a checkout')
    .argument('[step]', 'one step, with every ingredient of its key')
    .option('--with <run>', 'what differs from this run; else from the newest earlier run that has the step')
    .option('--files', 'list the files that the code of a step consists of')
    .option('--json', 'print what the API answers')
    .action((run: string, step: string | undefined, options: ExplainOptions) => explain(context, run, step, options));
}

async function explain(
  context: Context,
  run: string,
  step: string | undefined,
  options: ExplainOptions,
): Promise<void> {
  const { terminal } = context;
  const client = await connectClient(context);
  const other = options.with === undefined ? {} : { with: await parseRun(context, options.with) };
  const found = await client.runs.explain(await parseRun(context, run), {
    ...(step === undefined ? {} : { step }),
    ...other,
    files: options.files === true ? 'true' : 'false',
  });
  if (options.json) return terminal.write(formatJson(found));
  terminal.write(formatExplanation(terminal, found, { whole: step !== undefined }));
}
