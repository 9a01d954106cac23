import { randomUUID } from 'node:crypto';
import { type Command, InvalidArgumentError } from 'commander';
import { connectClient } from '#cli/connection.ts';
import type { Context, JsonOption } from '#cli/context.ts';
import { formatJson } from '#cli/output.ts';
import { parseCount } from '#cli/words/counts.ts';

interface PromoteOptions extends JsonOption {
  alias: string;
  reason?: string;
  expect?: number | 'none';
}

export function addPromoteCommand(program: Command, context: Context): void {
  program
    .command('promote')
    .summary('move an alias of a model to a version')
    .description('One transaction: compares the expected champion, checks the gate, pins everything, moves the alias.')
    .argument('<model>', 'the model')
    .argument('<version>', 'its version number', parseCount)
    .option('--alias <name>', 'which alias to move', 'production')
    .option('--reason <text>', 'why; needed when the project has no gate')
    .option('--expect <version>', 'refuse unless this version ("none" for no version) holds the alias', parseExpected)
    .option('--json', 'print what the API answers')
    .action((model: string, version: number, options: PromoteOptions) => promote(context, model, version, options));
}

function parseExpected(text: string): number | 'none' {
  if (text === 'none') return text;
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('Expected a version number, or "none".');
}

async function promote(context: Context, model: string, version: number, options: PromoteOptions): Promise<void> {
  const client = await connectClient(context);
  const body = {
    version,
    alias: options.alias,
    ...(options.reason === undefined ? {} : { reason: options.reason }),
    ...(options.expect === undefined ? {} : { expectedChampion: options.expect === 'none' ? null : options.expect }),
  };
  const done = await client.models.promote(model, body, { idempotencyKey: randomUUID() });
  if (options.json) return context.terminal.write(formatJson(done));
  const before = done.previousVersion === null ? '' : ` (was ${done.previousVersion})`;
  context.terminal.write(`${done.model} ${done.alias} → version ${done.version}${before}\n`);
}
