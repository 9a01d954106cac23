import { randomUUID } from 'node:crypto';
import { createWriteStream, openAsBlob } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type Command, Option } from 'commander';
import { areAssignments, collect, parseAssignments } from '#cli/assignments.ts';
import { connectClient } from '#cli/connection.ts';
import type { Context, JsonOption } from '#cli/context.ts';
import { CliError } from '#cli/errors.ts';
import { parseInstant } from '#cli/instants.ts';
import { formatFields, formatJson, formatTable } from '#cli/output.ts';
import { collectPages } from '#cli/pages.ts';
import { readAll } from '#cli/prompt.ts';
import { formatAge, formatSize } from '#cli/quantities.ts';
import { formatRows, readRows } from '#cli/rows.ts';
import type { LakeQuery, Snapshot } from '#contract/lake.ts';
import type { Client } from '#sdk/client.ts';
import type { Bytes } from '#sdk/transport.ts';
import { parseCount } from './ls.ts';

const formats = ['csv', 'jsonl', 'parquet'] as const;
type Format = (typeof formats)[number];

interface AppendOptions extends JsonOption {
  format?: Format;
}

interface PreviewOptions extends JsonOption {
  limit: number;
  asOf?: string;
}

interface QueryOptions extends PreviewOptions {
  param?: string[];
  output?: string;
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
  terminal.write(`${done.table}: ${done.rows} rows appended as commit ${done.seq} at ${done.committedAt}\n`);
}

async function openInput(context: Context, file: string): Promise<Bytes> {
  if (file === '-') return Readable.toWeb(context.stdin) as ReadableStream<Uint8Array>;
  const path = resolve(context.cwd, file);
  const found = await stat(path).catch(() => null);
  if (!found?.isFile()) throw new CliError(`Found no file at ${path}; expected a CSV, JSONL or Parquet file.`);
  return openAsBlob(path);
}

function formatOf(file: string): Format {
  const ending = /\.([a-z]+)$/i.exec(file)?.[1]?.toLowerCase() ?? '';
  const format = formats.find((known) => known === ending) ?? (ending === 'ndjson' ? 'jsonl' : undefined);
  if (format !== undefined) return format;
  throw new CliError(`Found "${file}"; expected a name that ends in .csv, .jsonl or .parquet, or --format.`);
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
