import type { Command } from 'commander';
import { connectClient } from '#cli/connection.ts';
import type { Context, JsonOption } from '#cli/context.ts';
import { formatJson, formatTable } from '#cli/output.ts';
import { collectPages } from '#cli/pages.ts';
import { formatAge } from '#cli/show/quantities.ts';
import { styledGate } from '#cli/show/statuses.ts';
import type { Promotion } from '#contract/models.ts';
import type { Client } from '#sdk/client.ts';

interface ModelOptions extends JsonOption {
  project?: string;
}

const modelColumns = [
  { title: 'model' },
  { title: 'project' },
  { title: 'latest', right: true },
  { title: 'aliases', flexible: true },
];
const versionColumns = ['version', 'run', 'gate', 'commit', 'created', 'aliases'].map((title) => ({ title }));
const promotionColumns = [
  { title: 'when' },
  { title: 'alias' },
  { title: 'version' },
  { title: 'by' },
  { title: 'reason', flexible: true },
];

export function addModelsCommand(program: Command, context: Context): void {
  program
    .command('models')
    .summary('list models, or the versions and promotions of one')
    .argument('[model]', 'one model')
    .option('--project <name>', 'only models of this project')
    .option('--json', 'print what the API answers')
    .action(async (model: string | undefined, options: ModelOptions) => {
      const client = await connectClient(context);
      return model === undefined ? list(context, client, options) : show(context, client, model, options);
    });
}

async function list({ terminal }: Context, client: Client, { json, project }: ModelOptions): Promise<void> {
  const query = project === undefined ? {} : { project };
  const items = await collectPages((page) => client.models.list({ ...query, ...page }));
  if (json) return terminal.write(formatJson({ items, nextCursor: null }));
  if (items.length === 0) return terminal.note('No models yet; a run of a project that names a model makes one.');
  const rows = items.map(({ name, project, latestVersion, aliases }) => [
    name,
    project,
    String(latestVersion ?? ''),
    Object.entries(aliases)
      .map(([alias, version]) => `${alias}=${version}`)
      .join(' '),
  ]);
  terminal.write(formatTable(terminal, modelColumns, rows));
}

async function show(context: Context, client: Client, name: string, { json }: ModelOptions): Promise<void> {
  const { terminal } = context;
  const [model, versions, promotions] = await Promise.all([
    client.models.get(name),
    client.models.versions(name),
    client.models.promotions(name),
  ]);
  if (json) return terminal.write(formatJson({ ...model, versions: versions.items, promotions: promotions.items }));
  const rows = versions.items.map((version) => [
    String(version.version),
    version.runLabel,
    styledGate(version.gateResult),
    version.commit?.slice(0, 8) ?? '',
    when(context, version.createdAt),
    version.aliases.join(' '),
  ]);
  terminal.write(formatTable(terminal, versionColumns, rows));
  if (terminal.isTerminal && promotions.items.length > 0) showPromotions(context, promotions.items);
}

function showPromotions(context: Context, promotions: Promotion[]): void {
  const { terminal } = context;
  const rows = promotions.map((move) => [
    when(context, move.at),
    move.alias,
    `${move.previousVersion ?? 'none'} → ${move.version}`,
    move.by,
    move.reason ?? '',
  ]);
  terminal.write(`\n${terminal.paint('bold', 'Promotions')}\n${formatTable(terminal, promotionColumns, rows)}`);
}

function when({ terminal }: Context, instant: string): string {
  return terminal.isTerminal ? formatAge(instant, Date.now()) : instant;
}
