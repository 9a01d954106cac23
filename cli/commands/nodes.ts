import type { Command } from 'commander';
import { connectClient } from '#cli/connection.ts';
import type { Context, JsonOption } from '#cli/context.ts';
import { type Cell, formatJson, formatTable } from '#cli/output.ts';
import { formatAge } from '#cli/show/quantities.ts';
import type { Node } from '#contract/nodes.ts';

const columns = [
  { title: 'node' },
  { title: 'pool' },
  { title: 'host', flexible: true },
  { title: 'state' },
  { title: 'slots', right: true },
  { title: 'one slot offers' },
  { title: 'started' },
];

export function addNodesCommand(program: Command, context: Context): void {
  program
    .command('nodes')
    .summary('list the machines that run stages')
    .option('--json', 'print what the API answers')
    .action((options: JsonOption) => list(context, options));
}

async function list(context: Context, options: JsonOption): Promise<void> {
  const { terminal } = context;
  const client = await connectClient(context);
  const nodes = await client.nodes.list();
  if (options.json) return terminal.write(formatJson(nodes));
  if (nodes.items.length === 0) return terminal.note('No node is registered; whoever runs the server starts one.');
  const rows = nodes.items.map((node) => rowOf(context, node));
  terminal.write(formatTable(terminal, columns, rows));
}

function rowOf({ terminal }: Context, node: Node): Cell[] {
  const { cpus, memoryGib, accelerator, devices } = node.shape;
  const devicesText = accelerator === null ? '' : `, ${devices.length} × ${accelerator}`;
  return [
    node.id,
    node.pool,
    node.host,
    node.alive ? { text: 'alive', style: 'green' } : { text: 'lost', style: 'red' },
    `${node.slotsUsed}/${node.slots}`,
    `${cpus} CPUs, ${memoryGib} GiB${devicesText}`,
    terminal.isTerminal ? formatAge(node.startedAt, Date.now()) : node.startedAt,
  ];
}
