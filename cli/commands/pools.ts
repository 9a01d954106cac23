import type { Command } from 'commander';
import { connectClient } from '#cli/connection.ts';
import type { Context, JsonOption } from '#cli/context.ts';
import { type Cell, formatJson, formatTable } from '#cli/output.ts';
import { formatDuration } from '#cli/show/quantities.ts';
import { describeSlot } from '#cli/show/slots.ts';
import type { Pool } from '#contract/pools.ts';

const columns = [
  { title: 'pool' },
  { title: 'one slot offers' },
  { title: 'nodes', right: true },
  { title: 'slots', right: true },
  { title: 'waiting', right: true },
  { title: 'longest wait', right: true },
];

export function addPoolsCommand(program: Command, context: Context): void {
  const pools = program.command('pools').summary('list the pools, their slots and what waits for them');
  pools
    .command('ls', { isDefault: true })
    .summary('list pools')
    .option('--json', 'print what the API answers')
    .action((options: JsonOption) => list(context, options));
}

async function list(context: Context, options: JsonOption): Promise<void> {
  const { terminal } = context;
  const client = await connectClient(context);
  const pools = await client.pools.list();
  if (options.json) return terminal.write(formatJson(pools));
  if (pools.items.length === 0) return terminal.note('There is no pool yet; a node that starts makes its own.');
  const rows = pools.items.map((pool) => rowOf(context, pool));
  terminal.write(formatTable(terminal, columns, rows));
}

/** Nodes and slots: those that take stages of all, and those in use of those. */
function rowOf({ terminal }: Context, pool: Pool): Cell[] {
  const { oldestWaitingSince: since } = pool;
  const waited = since === null ? '' : formatDuration(Math.max(0, Date.now() - Date.parse(since)));
  return [
    pool.name,
    describeSlot(pool.shape),
    `${pool.nodesActive}/${pool.nodes}`,
    `${pool.slotsUsed}/${pool.slots}`,
    String(pool.waiting),
    terminal.isTerminal ? waited : (since ?? ''),
  ];
}
