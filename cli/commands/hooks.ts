import { randomUUID } from 'node:crypto';
import type { Command } from 'commander';
import { connectClient } from '#cli/connection.ts';
import type { Context, JsonOption } from '#cli/context.ts';
import { formatJson, formatTable } from '#cli/output.ts';
import { formatAge } from '#cli/show/quantities.ts';
import type { Delivery } from '#contract/deliveries.ts';
import type { Hook, IssuedHook } from '#contract/hooks.ts';
import type { Terminal } from '#cli/terminal.ts';

const shownMax = 10;

export function addHooksCommand(program: Command, context: Context): void {
  const hooks = program.command('hooks').summary('let pushes start runs');
  hooks
    .command('create')
    .summary('make the webhook of a project; its secret is shown once')
    .argument('<project>', 'the project')
    .option('--json', 'print what the API answers')
    .action((project: string, options: JsonOption) => create(context, project, options));
  hooks
    .command('show')
    .summary('show the addresses and what was delivered last')
    .argument('<project>', 'the project')
    .option('--json', 'print what the API answers')
    .action((project: string, options: JsonOption) => show(context, project, options));
  hooks
    .command('rotate')
    .summary('make a new secret; the one before stays valid for a day')
    .argument('<project>', 'the project')
    .option('--json', 'print what the API answers')
    .action((project: string, options: JsonOption) => rotate(context, project, options));
  hooks
    .command('rm')
    .summary('remove the webhook; deliveries are refused from now on')
    .argument('<project>', 'the project')
    .action((project: string) => remove(context, project));
}

async function create(context: Context, project: string, options: JsonOption): Promise<void> {
  const client = await connectClient(context);
  showIssued(context.terminal, await client.hooks.create(project, { idempotencyKey: randomUUID() }), options);
}

async function rotate(context: Context, project: string, options: JsonOption): Promise<void> {
  const client = await connectClient(context);
  showIssued(context.terminal, await client.hooks.rotate(project, { idempotencyKey: randomUUID() }), options);
}

function showIssued(terminal: Terminal, hook: IssuedHook, { json }: JsonOption): void {
  if (json) return terminal.write(formatJson(hook));
  terminal.write(`Secret: ${hook.secret}\n\n${instructions(hook)}`);
  if (hook.previousUntil !== null) terminal.note(`The secret before stays valid until ${hook.previousUntil}.`);
  terminal.note('The secret is not shown again.');
}

/** What to enter at each host. */
function instructions({ urls }: Hook): string {
  return [
    `GitHub         ${urls.github}`,
    '               content type application/json, the secret as Secret, the push event',
    `GitLab         ${urls.gitlab}`,
    '               the secret as Signing token, or as Secret token where there is none, push events',
    `Gitea, Forgejo ${urls.gitea}`,
    '               POST application/json, the secret as Secret, push events',
    `others         ${urls.generic}`,
    '               signed as Standard Webhooks: { "ref": "refs/heads/main", "before": …, "after": … }',
    '',
  ].join('\n');
}

async function show(context: Context, project: string, options: JsonOption): Promise<void> {
  const { terminal } = context;
  const client = await connectClient(context);
  const hook = await client.hooks.get(project);
  const { items } = await client.hooks.deliveries(project, { limit: shownMax });
  if (options.json) return terminal.write(formatJson({ ...hook, deliveries: items }));
  terminal.write(instructions(hook));
  if (hook.pollFailure !== null) terminal.note(`The last look at the remote failed. ${hook.pollFailure}`);
  if (hook.statusFailure !== null) terminal.note(`A commit status was not written. ${hook.statusFailure}`);
  if (items.length === 0) return terminal.note('Nothing was delivered yet.');
  terminal.write(
    `\n${formatTable(
      terminal,
      columns,
      items.map((item) => rowOf(terminal, item)),
    )}`,
  );
}

const columns = [
  { title: 'when' },
  { title: 'from' },
  { title: 'ref' },
  { title: 'commit' },
  { title: 'became', flexible: true },
];

function rowOf(terminal: Terminal, item: Delivery): string[] {
  return [
    terminal.isTerminal ? formatAge(item.receivedAt, Date.now()) : item.receivedAt,
    item.source,
    item.ref ?? '',
    item.commit?.slice(0, 8) ?? '',
    item.run ??
      item.reason ??
      (item.failure === null ? 'waits for its commit to be read' : `tried again: ${item.failure}`),
  ];
}

async function remove(context: Context, project: string): Promise<void> {
  const client = await connectClient(context);
  await client.hooks.delete(project);
  context.terminal.note(`The webhook of ${project} is removed.`);
}
