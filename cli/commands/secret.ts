import type { Command } from 'commander';
import { connectClient } from '#cli/connection.ts';
import type { Context, JsonOption } from '#cli/context.ts';
import { formatJson, formatTable } from '#cli/output.ts';
import { projectNameHere } from '#cli/project/project-here.ts';
import { readHidden } from '#cli/prompt.ts';
import { formatAge } from '#cli/show/quantities.ts';

interface SecretOptions extends JsonOption {
  project?: string;
}

const columns = [{ title: 'secret' }, { title: 'version', right: true }, { title: 'set by' }, { title: 'when' }];

export function addSecretCommand(program: Command, context: Context): void {
  const secret = program.command('secret').summary('set, list and remove secrets of a project');
  secret
    .command('set')
    .summary('set a secret')
    .description('The value comes from a pipe or the keyboard, never from the command line.')
    .argument('<name>', 'the variable its stages get, for example HF_TOKEN')
    .option('--project <name>', "the checkout's project when absent")
    .option('--json', 'print what the API answers')
    .action((name: string, options: SecretOptions) => set(context, name, options));
  secret
    .command('ls')
    .summary('list names and versions; values are never shown')
    .option('--project <name>', "the checkout's project when absent")
    .option('--json', 'print what the API answers')
    .action((options: SecretOptions) => list(context, options));
  secret
    .command('rm')
    .summary('remove a secret and erase its values')
    .argument('<name>', 'the secret')
    .option('--project <name>', "the checkout's project when absent")
    .action((name: string, options: SecretOptions) => remove(context, name, options));
}

async function set(context: Context, name: string, options: SecretOptions): Promise<void> {
  const client = await connectClient(context);
  const project = options.project ?? (await projectNameHere(context));
  const secret = await client.secrets.set(project, name, await readHidden(context, `the value of ${name}`));
  if (options.json) return context.terminal.write(formatJson(secret));
  context.terminal.write(`${name} of ${project} is set (version ${secret.version})\n`);
}

async function list(context: Context, options: SecretOptions): Promise<void> {
  const { terminal } = context;
  const client = await connectClient(context);
  const project = options.project ?? (await projectNameHere(context));
  const secrets = await client.secrets.list(project);
  if (options.json) return terminal.write(formatJson(secrets));
  if (secrets.items.length === 0) return terminal.note(`${project} has no secrets.`);
  const rows = secrets.items.map((item) => [
    item.name,
    String(item.version),
    item.createdBy,
    terminal.isTerminal ? formatAge(item.createdAt, Date.now()) : item.createdAt,
  ]);
  terminal.write(formatTable(terminal, columns, rows));
}

async function remove(context: Context, name: string, options: SecretOptions): Promise<void> {
  const client = await connectClient(context);
  const project = options.project ?? (await projectNameHere(context));
  await client.secrets.delete(project, name);
  context.terminal.note(`${name} of ${project} is removed.`);
}
