import type { Command } from 'commander';
import type { Context, JsonOption } from '#cli/context.ts';
import { exitCodes } from '#cli/errors.ts';
import type { Finding } from '#cli/project/finding.ts';
import { lintProject } from '#cli/project/lint.ts';
import { formatJson, oneLine } from '#cli/output.ts';
import { rootHere } from '#cli/project/project-here.ts';

export function addLintCommand(program: Command, context: Context): void {
  program
    .command('lint')
    .summary('check assay.yaml, queries and parameters without running')
    .description('Shows every problem with file, line and key. Queries are checked by the server, if one answers.')
    .option('--json', 'print the findings as JSON')
    .action((options: JsonOption) => lint(context, options));
}

async function lint(context: Context, options: JsonOption): Promise<void> {
  const { terminal } = context;
  const findings = await lintProject(context, await rootHere(context.cwd));
  const errors = findings.filter((finding) => finding.level === 'error');
  if (errors.length > 0) process.exitCode = exitCodes.failed;
  if (options.json) return terminal.write(formatJson({ findings }));
  for (const finding of findings) terminal.write(`${formatFinding(context, finding)}\n`);
  if (errors.length === 0) terminal.note('No problems found.');
}

function formatFinding({ terminal }: Context, { level, place, message }: Finding): string {
  const style = { error: 'red', warning: 'yellow', note: 'dim' } as const;
  const start = place === '' ? '' : `${place} `;
  return `${start}${terminal.paint(style[level], level)}: ${oneLine(message)}`;
}
