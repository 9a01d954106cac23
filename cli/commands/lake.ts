import { randomUUID } from 'node:crypto';
import { openAsBlob } from 'node:fs';
import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Readable } from 'node:stream';
import { type Command, Option } from 'commander';
import { connectClient } from '#cli/connection.ts';
import type { Context, JsonOption } from '#cli/context.ts';
import { CliError } from '#cli/errors.ts';
import { formatJson, formatTable } from '#cli/output.ts';
import { collectPages } from '#cli/pages.ts';
import { formatAge, formatSize } from '#cli/show/quantities.ts';
import { formatRows } from '#cli/show/rows.ts';
import { parseCount } from '#cli/words/counts.ts';
import { type Format, formatOf, formats } from '#cli/words/formats.ts';
import { parseInstant } from '#cli/words/instants.ts';
import type { Bytes } from '#sdk/transport.ts';
import { addLakeQueryCommand } from './lake-query.ts';

interface AppendOptions extends JsonOption {
  format?: Format;
}

interface PreviewOptions extends JsonOption {
  limit: number;
  asOf?: string;
}

export function addLakeCommand(program: Command, context: Context): void {
  const lake = program.command('lake').summary('append to tables and query them as of an instant');
  addReadingCommands(lake, context);
  lake
    .command('append')
    .summary('append the rows of a file; the first append makes the table')
    .argument('<table>', 'the table')
    .argument('<file>', 'a CSV, JSONL or Parquet file; - reads a pipe')
    .addOption(new Option('--format <format>', 'when the file name does not say it').choices(formats))
    .option('--json', 'print what the API answers')
    .action((table: string, file: string, options: AppendOptions) => append(context, table, file, options));
  addLakeQueryCommand(lake, context);
}

function addReadingCommands(lake: Command, context: Context): void {
  lake
    .command('ls', { isDefault: true })
    .summary('list tables')
    .option('--json', 'print what the API answers')
    .action((options: JsonOption) => list(context, options));
  lake
    .command('show')
    .summary('show the columns and the newest commits of a table')
    .argument('<table>', 'the table')
    .option('--json', 'print what the API answers')
    .action((table: string, options: JsonOption) => show(context, table, options));
  lake
    .command('preview')
    .summary('look at a few rows')
    .argument('<table>', 'the table')
    .option('--as-of <instant>', 'look from this instant; now when absent', parseInstant)
    .option('-n, --limit <count>', 'how many rows, at most 1000', parseCount, 20)
    .option('--json', 'print what the API answers')
    .action((table: string, options: PreviewOptions) => preview(context, table, options));
}

async function list(context: Context, options: JsonOption): Promise<void> {
  const { terminal } = context;
  const client = await connectClient(context);
  const items = await collectPages((page) => client.lake.tables(page));
  if (options.json) return terminal.write(formatJson({ items, nextCursor: null }));
  if (items.length === 0) return terminal.note('No tables yet; make one with "assay lake append TABLE FILE".');
  const columns = [
    { title: 'table' },
    { title: 'rows', right: true },
    { title: 'size', right: true },
    { title: 'columns', right: true },
    { title: 'last append' },
  ];
  const rows = items.map((table) => [
    table.name,
    String(table.rows),
    formatSize(table.sizeBytes),
    String(table.columns.length),
    table.lastCommitAt === null
      ? ''
      : terminal.isTerminal
        ? formatAge(table.lastCommitAt, Date.now())
        : table.lastCommitAt,
  ]);
  terminal.write(formatTable(terminal, columns, rows));
}

async function show(context: Context, name: string, options: JsonOption): Promise<void> {
  const { terminal } = context;
  const client = await connectClient(context);
  const table = await client.lake.table(name);
  if (options.json) return terminal.write(formatJson(table));
  const columnRows = table.columns.map((column) => [column.name, column.type]);
  terminal.write(formatTable(terminal, [{ title: 'column' }, { title: 'type' }], columnRows));
  const commitRows = table.commits.map((commit) => [
    String(commit.seq),
    String(commit.rows),
    formatSize(commit.sizeBytes),
    commit.committedAt,
    commit.committedBy,
  ]);
  const columns = ['commit', 'rows', 'size', 'at', 'by'].map((title) => ({ title }));
  terminal.write(`\n${formatTable(terminal, columns, commitRows)}`);
}

async function preview(context: Context, table: string, { json, limit, asOf }: PreviewOptions): Promise<void> {
  const { terminal } = context;
  const client = await connectClient(context);
  const answer = await client.lake.preview(table, { limit, ...(asOf === undefined ? {} : { asOf }) });
  if (json) return terminal.write(formatJson(answer));
  terminal.write(formatRows(terminal, answer.columns, answer.rows));
}

async function append(context: Context, table: string, file: string, options: AppendOptions): Promise<void> {
  const { terminal } = context;
  const format = options.format ?? formatOf(file);
  const bytes = await openInput(context, file);
  const client = await connectClient(context);
  const done = await client.lake.append(table, format, bytes, { idempotencyKey: randomUUID() });
  if (options.json) return terminal.write(formatJson(done));
  terminal.write(
    `${done.table}: ${done.rows} ${done.rows === 1 ? 'row' : 'rows'} appended as commit ${done.seq} at ${done.committedAt}\n`,
  );
}

async function openInput(context: Context, file: string): Promise<Bytes> {
  if (file === '-') return Readable.toWeb(context.stdin) as ReadableStream<Uint8Array>;
  const path = resolve(context.cwd, file);
  const found = await stat(path).catch(() => null);
  if (!found?.isFile()) throw new CliError(`Found no file at ${path}; expected a CSV, JSONL or Parquet file.`);
  return openAsBlob(path);
}
