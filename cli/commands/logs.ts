import type { Command } from 'commander';
import { connectClient } from '#cli/connection.ts';
import type { Context } from '#cli/context.ts';
import { parseRun } from '#cli/project/project-here.ts';
import type { Client } from '#sdk/client.ts';
import { parseCount } from '#cli/words/counts.ts';

interface LogOptions {
  follow?: boolean;
  attempt?: number;
}

export function addLogsCommand(program: Command, context: Context): void {
  program
    .command('logs')
    .summary('show what the stages of a run print')
    .argument('<run>', 'PROJECT/NUMBER, or NUMBER inside a checkout')
    .argument('[step]', 'one stage; all of them when absent')
    .option('-f, --follow', 'stay and print what comes, until it ends')
    .option('--attempt <number>', 'an earlier attempt of the stage; the newest when absent', parseCount)
    .action((run: string, step: string | undefined, options: LogOptions) => logs(context, run, step, options));
}

async function logs(context: Context, text: string, step: string | undefined, options: LogOptions): Promise<void> {
  const client = await connectClient(context);
  const run = await parseRun(context, text);
  const query = {
    ...(step === undefined ? {} : { step }),
    ...(options.attempt === undefined ? {} : { attempt: options.attempt }),
  };
  if (options.follow) return follow(context, client, run, query);
  const response = await client.logs.open(run, query);
  await writeText(context, response.body);
}

/** Stages may print at the same time; a heading says whose lines follow. */
async function follow(
  { terminal }: Context,
  client: Client,
  run: string,
  query: { step?: string; attempt?: number },
): Promise<void> {
  let source = '';
  let atLineStart = true;
  for await (const event of client.logs.follow(run, query)) {
    const next = `${event.step} (attempt ${event.attempt})`;
    if (query.step === undefined && next !== source) {
      terminal.write(`${atLineStart ? '' : '\n'}${terminal.paint('bold', `==> ${next} <==`)}\n`);
      source = next;
    }
    terminal.write(event.text);
    if (event.text !== '') atLineStart = event.text.endsWith('\n');
  }
}

async function writeText({ terminal }: Context, body: ReadableStream<Uint8Array> | null): Promise<void> {
  if (body === null) return;
  const decoder = new TextDecoder();
  for await (const chunk of body) terminal.write(decoder.decode(chunk, { stream: true }));
  terminal.write(decoder.decode());
}
