import type { Command } from 'commander';
import { connectClient } from '#cli/connection.ts';
import type { Context, JsonOption } from '#cli/context.ts';
import { formatJson } from '#cli/output.ts';
import { parseRun } from '#cli/project/project-here.ts';
import { formatDiff } from '#cli/show/diff-page.ts';

interface DiffOptions extends JsonOption {
  code?: boolean;
  profile?: boolean;
  all?: boolean;
}

const champion = 'champion';

export function addDiffCommand(program: Command, context: Context): void {
  program
    .command('diff')
    .summary('say where two runs differ and what came of it')
    .description(
      [
        'Reads from the first run to the second, as git diff does, and leaves out what is equal. With one run, or with',
        '"champion" for the other, it reads from the champion of the run\'s model to the run. The exit code is 0 whether',
        'they differ or not.',
      ].join(' '),
    )
    .argument('<run>', 'PROJECT/NUMBER, or NUMBER inside a checkout')
    .argument('[other]', 'another run, or "champion"', champion)
    .option('--code', 'with the whole patch of the code; in a pipe nothing else')
    .option('--profile', 'compare the statistics of every column of the data')
    .option('--all', 'leave nothing out of long lists')
    .option('--json', 'print what the API answers')
    .action((run: string, other: string, options: DiffOptions) => diff(context, run, other, options));
}

async function diff(context: Context, first: string, second: string, options: DiffOptions): Promise<void> {
  const { terminal } = context;
  const client = await connectClient(context);
  const [before, after] = second === champion ? [second, first] : [first, second];
  const other = before === champion ? champion : await parseRun(context, before);
  const found = await client.runs.diff(await parseRun(context, after), {
    with: other,
    patch: options.code === true ? 'whole' : terminal.isTerminal ? 'short' : 'none',
    profile: options.profile === true ? 'true' : 'false',
    all: options.all === true || !terminal.isTerminal ? 'true' : 'false',
  });
  if (options.json) return terminal.write(formatJson(found));
  if (options.code && !terminal.isTerminal) return terminal.write(found.code?.patch ?? '');
  terminal.write(formatDiff(terminal, found, { wholePatch: options.code === true, all: options.all === true }));
}
