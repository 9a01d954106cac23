import type { Command } from 'commander';
import type { Context, JsonOption } from '#cli/context.ts';
import { exitCodes } from '#cli/errors.ts';
import { type Check, checkMachine } from '#cli/doctor/machine-checks.ts';
import { formatJson, oneLine } from '#cli/output.ts';
import { checkServer } from '#cli/doctor/server-checks.ts';

const marks = { ok: '✓', missing: '✗', optional: '-' } as const;
const styles = { ok: 'green', missing: 'red', optional: 'dim' } as const;
const nameWidth = 10;

export function addDoctorCommand(program: Command, context: Context): void {
  program
    .command('doctor')
    .summary('say what is installed, what is missing and how to get it')
    .option('--json', 'print the findings as JSON')
    .action((options: JsonOption) => doctor(context, options));
}

async function doctor(context: Context, options: JsonOption): Promise<void> {
  const { terminal } = context;
  const [machine, server] = await Promise.all([checkMachine(context.env), checkServer(context.env)]);
  const checks = [...machine, ...server];
  if (checks.some((check) => check.state === 'missing')) process.exitCode = exitCodes.failed;
  if (options.json) return terminal.write(formatJson({ checks }));
  for (const check of checks) terminal.write(formatCheck(context, check));
}

function formatCheck({ terminal }: Context, { what, state, found, fix }: Check): string {
  if (!terminal.isTerminal) return `${what}\t${state}\t${oneLine(found)}\t${fix ?? ''}\n`;
  const advice = fix === null ? '' : `\n${' '.repeat(nameWidth + 2)}${terminal.paint('dim', `→ ${fix}`)}`;
  return `${terminal.paint(styles[state], marks[state])} ${what.padEnd(nameWidth)}${oneLine(found)}${advice}\n`;
}
