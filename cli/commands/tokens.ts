import { type Command, Option } from 'commander';
import { connectClient } from '#cli/connection.ts';
import type { Context, JsonOption } from '#cli/context.ts';
import { formatJson, formatTable } from '#cli/output.ts';
import { collectPages } from '#cli/pages.ts';
import { formatAge } from '#cli/show/quantities.ts';
import type { IssueToken, Token } from '#contract/tokens.ts';
import { roles } from '#core/role.ts';
import { parseCount } from '#cli/words/counts.ts';

interface CreateOptions extends JsonOption {
  role: IssueToken['role'];
  owner?: string;
  project?: string;
  days: number;
}

const issuable = roles.filter((role) => role !== 'stage');
const columns = [
  { title: 'id' },
  { title: 'name', flexible: true },
  { title: 'owner' },
  { title: 'role' },
  { title: 'project' },
  { title: 'last used' },
  { title: 'state' },
];

export function addTokensCommand(program: Command, context: Context): void {
  const tokens = program.command('tokens').summary('issue, list and revoke tokens');
  tokens
    .command('ls', { isDefault: true })
    .summary('list tokens')
    .option('--json', 'print what the API answers')
    .action((options: JsonOption) => list(context, options));
  tokens
    .command('create')
    .summary('issue a token; it is shown this once')
    .argument('<name>', 'what it is for')
    .addOption(new Option('--role <role>', 'what it may do').choices(issuable).default('ml'))
    .option('--owner <name>', 'who it speaks for; you when absent')
    .option('--project <name>', 'the only project it reaches')
    .option('--days <count>', 'days until it expires', parseCount, 90)
    .option('--json', 'print what the API answers')
    .action((name: string, options: CreateOptions) => create(context, name, options));
  tokens
    .command('revoke')
    .summary('make a token useless')
    .argument('<id>', 'its id, as "assay tokens ls" shows it')
    .action((id: string) => revoke(context, id));
}

async function list(context: Context, options: JsonOption): Promise<void> {
  const { terminal } = context;
  const client = await connectClient(context);
  const items = await collectPages((page) => client.tokens.list(page));
  if (options.json) return terminal.write(formatJson({ items, nextCursor: null }));
  const rows = items.map((token) => [
    token.id,
    token.name,
    token.owner,
    token.role,
    token.project ?? '',
    token.lastUsedAt === null ? '' : terminal.isTerminal ? formatAge(token.lastUsedAt, Date.now()) : token.lastUsedAt,
    stateOf(token),
  ]);
  terminal.write(formatTable(terminal, columns, rows));
}

function stateOf(token: Token): string {
  if (token.revokedAt !== null) return 'revoked';
  return token.expiresAt !== null && Date.parse(token.expiresAt) < Date.now() ? 'expired' : 'valid';
}

async function create(context: Context, name: string, { json, days, project, ...body }: CreateOptions): Promise<void> {
  const client = await connectClient(context);
  const issued = await client.tokens.issue({ name, ...body, project: project ?? null, expiresInDays: days });
  if (json) return context.terminal.write(formatJson(issued));
  context.terminal.note(`Token "${issued.name}" for ${issued.owner} (${issued.role}); it is not shown again:`);
  context.terminal.write(`${issued.token}\n`);
}

async function revoke(context: Context, id: string): Promise<void> {
  const client = await connectClient(context);
  await client.tokens.revoke(id);
  context.terminal.note(`Token ${id} is revoked.`);
}
