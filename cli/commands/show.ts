import type { Command } from 'commander';
import { connectClient } from '#cli/connection.ts';
import type { Context, JsonOption } from '#cli/context.ts';
import { formatJson } from '#cli/output.ts';
import { parseRun } from '#cli/project/project-here.ts';
import { formatRun } from '#cli/show/run-page.ts';

export function addShowCommand(program: Command, context: Context): void {
  program
    .command('show')
    .summary('show a run: steps, parameters, metrics, gate, data, environment')
    .argument('<run>', 'PROJECT/NUMBER, or NUMBER inside a checkout')
    .option('--json', 'print what the API answers: the run, with its metrics and data')
    .action((run: string, options: JsonOption) => show(context, run, options));
}

async function show(context: Context, text: string, options: JsonOption): Promise<void> {
  const { terminal } = context;
  const client = await connectClient(context);
  const reference = await parseRun(context, text);
  const [run, metrics, data] = await Promise.all([
    client.runs.get(reference),
    client.runs.metrics(reference),
    client.runs.data(reference),
  ]);
  if (options.json) return terminal.write(formatJson({ ...run, metrics: metrics.items, data: data.items }));
  terminal.write(formatRun(terminal, { run, metrics: metrics.items, data: data.items }));
}
