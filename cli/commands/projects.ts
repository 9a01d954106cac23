import { type Command, Option } from 'commander';
import { connectClient } from '#cli/connection.ts';
import type { Context, JsonOption } from '#cli/context.ts';
import { formatJson, formatTable } from '#cli/output.ts';
import { collectPages } from '#cli/pages.ts';
import { type HostKind, hostKinds } from '#core/push.ts';

interface ProjectOptions extends JsonOption {
  remote?: string;
  branch?: string;
  poll?: string;
  hostKind?: HostKind;
}

const columns = [
  { title: 'project' },
  { title: 'runs', right: true },
  { title: 'branch' },
  { title: 'remote', flexible: true },
  { title: 'created by' },
];

export function addProjectsCommand(program: Command, context: Context): void {
  const projects = program.command('projects').summary('list, create and change projects');
  projects
    .command('ls', { isDefault: true })
    .summary('list projects')
    .option('--json', 'print what the API answers')
    .action((options: JsonOption) => list(context, options));
  projects
    .command('create')
    .summary('create a project; "assay run" does it by itself')
    .argument('<name>', 'the name, as in NAME/42')
    .option('--remote <url>', 'https or ssh address its code is fetched from')
    .option('--branch <name>', 'default branch')
    .option('--json', 'print what the API answers')
    .action((name: string, options: ProjectOptions) => create(context, name, options));
  projects
    .command('set')
    .summary('change the remote, how it is watched, or the default branch')
    .argument('<name>', 'the project')
    .option('--remote <url>', 'https or ssh address; "none" when code arrives only from checkouts')
    .option('--branch <name>', 'default branch')
    .option('--poll <time>', 'how often the remote is asked for pushes: off, 1m to 1d, or default')
    .addOption(new Option('--host-kind <kind>', 'which API the host speaks; Forgejo speaks gitea').choices(hostKinds))
    .option('--json', 'print what the API answers')
    .action((name: string, options: ProjectOptions) => change(context, name, options));
}

async function list(context: Context, options: JsonOption): Promise<void> {
  const { terminal } = context;
  const client = await connectClient(context);
  const items = await collectPages((page) => client.projects.list(page));
  if (options.json) return terminal.write(formatJson({ items, nextCursor: null }));
  if (items.length === 0) return terminal.note('No projects yet; "assay run" in a checkout creates the first.');
  const rows = items.map(({ name, runs, defaultBranch, remoteUrl, createdBy }) => [
    name,
    String(runs),
    defaultBranch,
    remoteUrl ?? '',
    createdBy,
  ]);
  terminal.write(formatTable(terminal, columns, rows));
}

async function create(context: Context, name: string, options: ProjectOptions): Promise<void> {
  const client = await connectClient(context);
  const project = await client.projects.create({ name, ...changes(options) });
  if (options.json) return context.terminal.write(formatJson(project));
  context.terminal.write(`${project.name} is created\n`);
}

async function change(context: Context, name: string, options: ProjectOptions): Promise<void> {
  const client = await connectClient(context);
  const project = await client.projects.change(name, { ...changes(options), ...watching(options) });
  if (options.json) return context.terminal.write(formatJson(project));
  context.terminal.write(`${project.name}: branch ${project.defaultBranch}, remote ${project.remoteUrl ?? 'none'}\n`);
}

function changes({ remote, branch }: ProjectOptions): { remoteUrl?: string | null; defaultBranch?: string } {
  return {
    ...(remote === undefined ? {} : { remoteUrl: remote === 'none' ? null : remote }),
    ...(branch === undefined ? {} : { defaultBranch: branch }),
  };
}

function watching({ poll, hostKind }: ProjectOptions): { poll?: string | null; hostKind?: HostKind } {
  return {
    ...(poll === undefined ? {} : { poll: poll === 'default' ? null : poll }),
    ...(hostKind === undefined ? {} : { hostKind }),
  };
}
