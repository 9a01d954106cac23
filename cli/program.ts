// The table of commands.
import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { addCancelCommand } from './commands/cancel.ts';
import { addDataCommand } from './commands/data.ts';
import { addDoctorCommand } from './commands/doctor.ts';
import { addDownloadCommand } from './commands/download.ts';
import { addEnvCommand } from './commands/env.ts';
import { addExecCommand } from './commands/exec.ts';
import { addInitCommand } from './commands/init.ts';
import { addLakeCommand } from './commands/lake.ts';
import { addLintCommand } from './commands/lint.ts';
import { addLoginCommand } from './commands/login.ts';
import { addLogsCommand } from './commands/logs.ts';
import { addLsCommand } from './commands/ls.ts';
import { addModelsCommand } from './commands/models.ts';
import { addNodesCommand } from './commands/nodes.ts';
import { addProjectsCommand } from './commands/projects.ts';
import { addPromoteCommand } from './commands/promote.ts';
import { addResolveCommand } from './commands/resolve.ts';
import { addRetryCommand } from './commands/retry.ts';
import { addRunCommand } from './commands/run.ts';
import { addSecretCommand } from './commands/secret.ts';
import { addShowCommand } from './commands/show.ts';
import { addTokensCommand } from './commands/tokens.ts';
import type { Context } from './context.ts';

const groups: [string, ((program: Command, context: Context) => void)[]][] = [
  ['Project', [addInitCommand, addLintCommand, addEnvCommand, addExecCommand]],
  [
    'Runs',
    [
      addRunCommand,
      addLsCommand,
      addShowCommand,
      addLogsCommand,
      addDownloadCommand,
      addCancelCommand,
      addRetryCommand,
      addResolveCommand,
    ],
  ],
  ['Models', [addModelsCommand, addPromoteCommand]],
  ['Data', [addDataCommand, addLakeCommand]],
  [
    'Server',
    [addLoginCommand, addProjectsCommand, addSecretCommand, addTokensCommand, addNodesCommand, addDoctorCommand],
  ],
];

const exitCodeHelp = `
Exit codes: 0 success, 1 failure (also a failed gate), 2 cancelled, 3 the server does not answer, 4 not logged in.
Variables:  ASSAY_URL, ASSAY_TOKEN, ASSAY_HOME, NO_COLOR.`;

export function createProgram(context: Context): Command {
  const program = new Command('assay')
    .description('Run machine-learning experiments that stay reproducible.')
    .version(readVersion(), '-V, --version')
    .exitOverride()
    .enablePositionalOptions()
    .configureOutput({
      writeOut: (text) => context.terminal.write(text),
      writeErr: (text) => context.terminal.note(text.trimEnd()),
      getOutHelpWidth: () => context.terminal.columns,
    })
    .addHelpText('after', exitCodeHelp);
  for (const [title, commands] of groups) {
    program.commandsGroup(title);
    for (const add of commands) add(program, context);
  }
  return program;
}

function readVersion(): string {
  const manifest = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  return (JSON.parse(manifest) as { version: string }).version;
}
