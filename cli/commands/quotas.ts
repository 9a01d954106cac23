import { type Command, InvalidArgumentError } from 'commander';
import { connectClient } from '#cli/connection.ts';
import type { Context, JsonOption } from '#cli/context.ts';
import { type Cell, formatJson, formatTable } from '#cli/output.ts';
import type { Quota } from '#contract/quotas.ts';
import { quotaLimits } from '#core/quota.ts';

interface SetOptions extends JsonOption {
  runs?: number | null;
  stages?: number | null;
  devices?: number | null;
}

const columns = [
  { title: 'for' },
  { title: 'name', flexible: true },
  ...quotaLimits.map((title) => ({ title, right: true })),
  { title: 'set by' },
];

const subject = 'project NAME or user NAME; the name * is for all that have no quota of their own';

export function addQuotasCommand(program: Command, context: Context): void {
  const quotas = program.command('quotas').summary('list, set and remove what projects and users may use at once');
  quotas
    .command('ls', { isDefault: true })
    .summary('list quotas with what is used of them')
    .option('--json', 'print what the API answers')
    .action((options: JsonOption) => list(context, options));
  quotas
    .command('set')
    .summary('set a quota; what is not given has no limit')
    .description('Sets what a project or a user may use at once, in place of an earlier quota and of the default.')
    .argument('<kind>', 'project or user', parseKind)
    .argument('<name>', subject)
    .option('--runs <count>', 'runs under way', parseLimit)
    .option('--stages <count>', 'stages that run or wait for a slot', parseLimit)
    .option('--devices <count>', 'accelerators of those stages', parseLimit)
    .option('--json', 'print what the API answers')
    .action((kind: Quota['kind'], name: string, options: SetOptions) => set(context, kind, name, options));
  quotas
    .command('rm')
    .summary('remove a quota; the default holds again')
    .argument('<kind>', 'project or user', parseKind)
    .argument('<name>', subject)
    .action((kind: Quota['kind'], name: string) => remove(context, kind, name));
}

function parseKind(text: string): Quota['kind'] {
  if (text === 'project' || text === 'user') return text;
  throw new InvalidArgumentError('Expected project or user.');
}

function parseLimit(text: string): number | null {
  if (text === 'none') return null;
  if (/^\d{1,6}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('Expected a whole number, or none.');
}

async function list(context: Context, options: JsonOption): Promise<void> {
  const { terminal } = context;
  const client = await connectClient(context);
  const quotas = await client.quotas.list();
  if (options.json) return terminal.write(formatJson(quotas));
  if (quotas.items.length === 0) return terminal.note('There is no quota; set one with "assay quotas set".');
  terminal.write(formatTable(terminal, columns, quotas.items.map(rowOf)));
}

function rowOf(quota: Quota): Cell[] {
  const cells = quotaLimits.map((limit) => {
    const allowed = quota[limit] === null ? 'none' : String(quota[limit]);
    return quota.used === null ? allowed : `${quota.used[limit]}/${allowed}`;
  });
  return [quota.kind, quota.name, ...cells, quota.setBy];
}

async function set(context: Context, kind: Quota['kind'], name: string, options: SetOptions): Promise<void> {
  const { json, runs = null, stages = null, devices = null } = options;
  const client = await connectClient(context);
  const quota = await client.quotas.set(kind, name, { runs, stages, devices });
  context.terminal.write(json ? formatJson(quota) : formatTable(context.terminal, columns, [rowOf(quota)]));
}

async function remove(context: Context, kind: Quota['kind'], name: string): Promise<void> {
  const client = await connectClient(context);
  await client.quotas.remove(kind, name);
  context.terminal.note(`${kind} ${name} has no quota of its own any more.`);
}
