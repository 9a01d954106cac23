import { createWriteStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { Command } from 'commander';
import { connectClient } from '#cli/connection.ts';
import type { Context, JsonOption } from '#cli/context.ts';
import { CliError } from '#cli/errors.ts';
import { formatFields, formatJson } from '#cli/output.ts';
import { readAll } from '#cli/prompt.ts';
import { formatSize } from '#cli/show/quantities.ts';
import { formatRows, readRows } from '#cli/show/rows.ts';
import { areAssignments, collect, parseAssignments } from '#cli/words/assignments.ts';
import { parseCount } from '#cli/words/counts.ts';
import { formatOf } from '#cli/words/formats.ts';
import { parseInstant } from '#cli/words/instants.ts';
import type { LakeQuery, Snapshot } from '#contract/lake.ts';
import type { Client } from '#sdk/client.ts';

interface QueryOptions extends JsonOption {
  limit: number;
  asOf?: string;
  param?: string[];
  output?: string;
}

export function addLakeQueryCommand(lake: Command, context: Context): void {
  lake
    .command('query')
    .summary('run an as-of query; its result is kept as a snapshot')
    .argument('<sql>', 'one SELECT, @FILE with one, or - for a pipe')
    .option('--as-of <instant>', 'look from this instant, for example 2026-03-01; now when absent', parseInstant)
    .option('-P, --param <name=value>', 'a value for $name; may be repeated', collect)
    .option('-n, --limit <count>', 'rows to show on a terminal', parseCount, 20)
    .option('-o, --output <file>', 'write all rows to a .parquet, .csv or .jsonl file')
    .option('--json', 'print the snapshot as the API answers it')
    .action((sql: string, options: QueryOptions) => query(context, sql, options));
}

async function query(context: Context, sql: string, options: QueryOptions): Promise<void> {
  const { terminal } = context;
  const client = await connectClient(context);
  const body = {
    query: await readSql(context, sql),
    params: parseParams(options.param ?? []),
    ...(options.asOf === undefined ? {} : { asOf: options.asOf }),
  };
  const snapshot = await client.lake.query(body);
  if (options.output !== undefined) await save(context, client, snapshot.id, options.output);
  if (options.json) return terminal.write(formatJson(snapshot));
  if (options.output === undefined) await showRows(context, client, snapshot, options.limit);
  if (terminal.isTerminal) terminal.write(`\n${formatSnapshot(context, snapshot)}`);
}

async function readSql({ cwd, stdin }: Context, text: string): Promise<string> {
  if (text === '-') return readAll(stdin);
  return text.startsWith('@') ? readFile(resolve(cwd, text.slice(1)), 'utf8') : text;
}

function parseParams(words: readonly string[]): NonNullable<LakeQuery['params']> {
  if (words.length > 0 && !areAssignments(words))
    throw new CliError('Expected -P NAME=VALUE, for example -P limit=10.');
  const entries = Object.entries(parseAssignments(words));
  return Object.fromEntries(
    entries.map(([name, value]) => [name, typeof value === 'object' && value !== null ? JSON.stringify(value) : value]),
  );
}

/** A pipe gets every row, a terminal the first ones. */
async function showRows({ terminal }: Context, client: Client, snapshot: Snapshot, limit: number): Promise<void> {
  const response = await client.lake.openSnapshot(snapshot.id, 'jsonl');
  const rows = await readRows(response.body, terminal.isTerminal ? limit : snapshot.rows);
  terminal.write(formatRows(terminal, snapshot.columns, rows));
}

async function save({ cwd, terminal }: Context, client: Client, id: string, file: string): Promise<void> {
  const response = await client.lake.openSnapshot(id, formatOf(file));
  if (response.body !== null) await pipeline(response.body, createWriteStream(resolve(cwd, file)));
  terminal.note(`Written to ${file}`);
}

function formatSnapshot({ terminal }: Context, snapshot: Snapshot): string {
  return formatFields(terminal, [
    ['snapshot', snapshot.id],
    ['as of', snapshot.asOf],
    ['rows', `${snapshot.rows} (${formatSize(snapshot.sizeBytes)})`],
    ['ordered', snapshot.orderedDigest],
    ['unordered', snapshot.unorderedDigest],
  ]);
}
