// The table of commands.
import { Command } from 'commander';
import { addCancelCommand } from '#cli/commands/cancel.ts';
import { addDataCommand } from '#cli/commands/data.ts';
import { addDiffCommand } from '#cli/commands/diff.ts';
import { addDoctorCommand } from '#cli/commands/doctor.ts';
import { addDownloadCommand } from '#cli/commands/download.ts';
import { addEnvCommand } from '#cli/commands/env.ts';
import { addExecCommand } from '#cli/commands/exec.ts';
import { addExplainCommand } from '#cli/commands/explain.ts';
import { addExportCommand } from '#cli/commands/export.ts';
import { addHooksCommand } from '#cli/commands/hooks.ts';
import { addInitCommand } from '#cli/commands/init.ts';
import { addLakeCommand } from '#cli/commands/lake.ts';
import { addLintCommand } from '#cli/commands/lint.ts';
import { addLoginCommand } from '#cli/commands/login.ts';
import { addLogoutCommand } from '#cli/commands/logout.ts';
import { addLogsCommand } from '#cli/commands/logs.ts';
import { addLsCommand } from '#cli/commands/ls.ts';
import { addModelsCommand } from '#cli/commands/models.ts';
import { addNodesCommand } from '#cli/commands/nodes.ts';
import { addPoolsCommand } from '#cli/commands/pools.ts';
import { addProjectsCommand } from '#cli/commands/projects.ts';
import { addPromoteCommand } from '#cli/commands/promote.ts';
import { addQuotasCommand } from '#cli/commands/quotas.ts';
import { addReproduceCommand } from '#cli/commands/reproduce.ts';
import { addResolveCommand } from '#cli/commands/resolve.ts';
import { addResumeCommand } from '#cli/commands/resume.ts';
import { addRunCommand } from '#cli/commands/run.ts';
import { addSchedulesCommand } from '#cli/commands/schedules.ts';
import { addSecretCommand } from '#cli/commands/secret.ts';
import { addShowCommand } from '#cli/commands/show.ts';
import { addTokensCommand } from '#cli/commands/tokens.ts';
import { addVerifyCommand } from '#cli/commands/verify.ts';
import { addVerifyDeterminismCommand } from '#cli/commands/verify-determinism.ts';
import { addWhoamiCommand } from '#cli/commands/whoami.ts';
import type { Context } from './context.ts';
import { installation } from './installation.ts';
import { variablesFor } from './settings.ts';

const groups: [string, ((program: Command, context: Context) => void)[]][] = [
  ['Project', [addInitCommand, addLintCommand, addEnvCommand, addExecCommand]],
  [
    'Runs',
    [
      addRunCommand,
      addLsCommand,
      addShowCommand,
      addDiffCommand,
      addExplainCommand,
      addLogsCommand,
      addDownloadCommand,
      addExportCommand,
      addVerifyCommand,
      addCancelCommand,
      addResumeCommand,
      addResolveCommand,
      addReproduceCommand,
      addVerifyDeterminismCommand,
      addSchedulesCommand,
    ],
  ],
  ['Models', [addModelsCommand, addPromoteCommand]],
  ['Data', [addDataCommand, addLakeCommand]],
  [
    'Server',
    [
      addLoginCommand,
      addLogoutCommand,
      addWhoamiCommand,
      addProjectsCommand,
      addSecretCommand,
      addHooksCommand,
      addTokensCommand,
      addNodesCommand,
      addPoolsCommand,
      addQuotasCommand,
      addDoctorCommand,
    ],
  ],
];

const exitCodeHelp = `
Exit codes: 0 success, 1 failure (also a failed gate), 2 cancelled, 3 the server does not answer or a run can not be reproduced, 4 not logged in.
Variables:  ASSAY_URL, ASSAY_TOKEN, ASSAY_HOME, NO_COLOR.`;

export function createProgram(context: Context): Command {
  const program = new Command('assay')
    .description('Run machine-learning experiments that stay reproducible.')
    .version(installation.version, '-V, --version')
    .option('--server <address>', 'one of the servers you logged in to; stands before the command')
    .exitOverride()
    .enablePositionalOptions()
    .configureOutput({
      writeOut: (text) => context.terminal.write(text),
      writeErr: (text) => context.terminal.note(text.trimEnd()),
      getOutHelpWidth: () => context.terminal.columns,
    })
    .addHelpText('after', exitCodeHelp)
    .hook('preAction', async () => {
      const { server } = program.opts<{ server?: string }>();
      if (server !== undefined) context.env = await variablesFor(context.env, server);
    });
  for (const [title, commands] of groups) {
    program.commandsGroup(title);
    for (const add of commands) add(program, context);
  }
  return program;
}
