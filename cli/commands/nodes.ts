import type { Command } from 'commander';
import { connectClient } from '#cli/connection.ts';
import type { Context, JsonOption } from '#cli/context.ts';
import { type Cell, formatJson, formatTable, oneLine, type Styled } from '#cli/output.ts';
import { formatAge } from '#cli/show/quantities.ts';
import { describeSlot } from '#cli/show/slots.ts';
import type { Node } from '#contract/nodes.ts';

const columns = [
  { title: 'node' },
  { title: 'pool' },
  { title: 'host' },
  { title: 'state', flexible: true },
  { title: 'slots', right: true },
  { title: 'one slot offers' },
  { title: 'lease' },
  { title: 'started' },
];

interface ListOptions extends JsonOption {
  all?: boolean;
}

interface DrainOptions extends JsonOption {
  now?: boolean;
  reason?: string;
}

export function addNodesCommand(program: Command, context: Context): void {
  const nodes = program.command('nodes').summary('list, drain and resume the machines that run stages');
  nodes
    .command('ls', { isDefault: true })
    .summary('list nodes')
    .option('--all', 'also those that were not heard of for 7 days')
    .option('--json', 'print what the API answers')
    .action((options: ListOptions) => list(context, options));
  nodes
    .command('drain')
    .summary('let a node take no new stages; those it has go on')
    .argument('<node>', 'its id, as "assay nodes ls" shows it')
    .option('--now', 'stop its stages too; they start elsewhere at no cost of a retry')
    .option('--reason <text>', 'shown to whoever asks why')
    .option('--json', 'print what the API answers')
    .action((node: string, options: DrainOptions) => drain(context, node, options));
  nodes
    .command('resume')
    .summary('let a node that was drained or put aside take stages again')
    .argument('<node>', 'its id')
    .option('--json', 'print what the API answers')
    .action((node: string, options: JsonOption) => resume(context, node, options));
}

async function list(context: Context, options: ListOptions): Promise<void> {
  const { terminal } = context;
  const client = await connectClient(context);
  const nodes = await client.nodes.list(options.all ? { all: 'true' } : {});
  if (options.json) return terminal.write(formatJson(nodes));
  if (nodes.items.length === 0) return terminal.note('No node is registered; whoever runs the server starts one.');
  const rows = nodes.items.map((node) => rowOf(context, node));
  terminal.write(formatTable(terminal, columns, rows));
}

function rowOf({ terminal }: Context, node: Node): Cell[] {
  const now = Date.now();
  const leaseSeconds = Math.round((Date.parse(node.leaseExpiresAt) - now) / 1000);
  const lease = node.alive ? `${leaseSeconds} s left` : `ran out ${formatAge(node.leaseExpiresAt, now)}`;
  return [
    node.id,
    node.pool,
    node.host,
    stateOf(node),
    `${node.slotsUsed}/${node.slots}`,
    describeSlot(node.shape),
    terminal.isTerminal ? lease : node.leaseExpiresAt,
    terminal.isTerminal ? formatAge(node.startedAt, now) : node.startedAt,
  ];
}

function stateOf({ alive, state, stateReason, stateBy, slotsUsed }: Node): Styled {
  const because = stateReason === null ? '' : `: ${oneLine(stateReason)}`;
  if (state === 'aside') return { text: `put aside${because}`, style: 'red' };
  const lost = alive ? '' : 'lost, ';
  if (state === 'draining') {
    const what = slotsUsed > 0 ? 'draining' : 'drained';
    return { text: `${lost}${what} by ${stateBy ?? 'nobody'}${because}`, style: alive ? 'yellow' : 'red' };
  }
  return alive ? { text: 'active', style: 'green' } : { text: 'lost', style: 'red' };
}

async function drain(context: Context, id: string, { json, now = false, reason }: DrainOptions): Promise<void> {
  const client = await connectClient(context);
  const node = await client.nodes.drain(id, { now, ...(reason === undefined ? {} : { reason }) });
  const stages = node.slotsUsed === 1 ? '1 stage' : `${node.slotsUsed} stages`;
  const rest = now ? `${stages} stopped, to start elsewhere` : `${stages} to go on to the end`;
  report(context, node, json, `takes no new stages within seconds; ${rest}`);
}

async function resume(context: Context, id: string, { json }: JsonOption): Promise<void> {
  const client = await connectClient(context);
  report(context, await client.nodes.resume(id), json, 'takes stages again within seconds');
}

function report({ terminal }: Context, node: Node, json: boolean | undefined, what: string): void {
  if (json) return terminal.write(formatJson(node));
  terminal.write(terminal.isTerminal ? `${terminal.paint('bold', node.id)} ${what}\n` : `${node.id}\t${node.state}\n`);
}
