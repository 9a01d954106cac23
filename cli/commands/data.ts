import { openAsBlob } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { connectClient } from '#cli/connection.ts';
import type { Context, JsonOption } from '#cli/context.ts';
import { CliError } from '#cli/errors.ts';
import { type FolderFile, readFolder } from '#cli/files/folder-files.ts';
import { formatJson, formatTable } from '#cli/output.ts';
import { collectPages } from '#cli/pages.ts';
import { inParallel } from '#cli/files/parallel.ts';
import { formatAge, formatSize } from '#cli/show/quantities.ts';
import type { Client } from '#sdk/client.ts';
import { parseCount } from '#cli/words/counts.ts';

interface ShowOptions extends JsonOption {
  version?: number;
}

const uploadsMax = 4;
/** The server answers one question about this many blobs. */
const questionMax = 100_000;

export function addDataCommand(program: Command, context: Context): void {
  const data = program.command('data').summary('add, list and look at datasets (folders of files)');
  data
    .command('add')
    .summary('add the files of a folder as a new version; only what is missing is sent')
    .argument('<name>', 'the dataset')
    .argument('<folder>', 'the folder')
    .option('--json', 'print what the API answers')
    .action((name: string, folder: string, options: JsonOption) => add(context, name, folder, options));
  data
    .command('ls', { isDefault: true })
    .summary('list datasets')
    .option('--json', 'print what the API answers')
    .action((options: JsonOption) => list(context, options));
  data
    .command('show')
    .summary('list the versions of a dataset, or the files of one version')
    .argument('<name>', 'the dataset')
    .option('--version <number>', 'list the files of this version', parseCount)
    .option('--json', 'print what the API answers')
    .action((name: string, options: ShowOptions) => show(context, name, options));
}

async function add(context: Context, name: string, folder: string, options: JsonOption): Promise<void> {
  const { terminal } = context;
  const dir = resolve(context.cwd, folder);
  const found = await stat(dir).catch(() => null);
  if (!found?.isDirectory()) throw new CliError(`Found no folder at ${dir}; expected the folder that becomes ${name}.`);
  const client = await connectClient(context);
  const files = await readFolder(dir);
  const sent = await sendMissing(context, client, dir, files);
  const version = await client.datasets.addVersion(name, { files });
  if (options.json) return terminal.write(formatJson(version));
  terminal.write(
    `${version.dataset} version ${version.version}: ${count(version.files)}, ${formatSize(version.sizeBytes)}\n`,
  );
  terminal.note(sent === 0 ? 'Nothing had to be sent.' : `Sent ${count(sent)}; the server had the others.`);
}

async function sendMissing({ terminal }: Context, client: Client, dir: string, files: FolderFile[]): Promise<number> {
  const byHash = new Map(files.map((file) => [file.sha256, file]));
  const missing = await findMissing(client, [...byHash.keys()]);
  const sizeBytes = missing.reduce((sum, sha256) => sum + (byHash.get(sha256)?.sizeBytes ?? 0), 0);
  if (missing.length > 0) terminal.note(`Sending ${count(missing.length)}, ${formatSize(sizeBytes)} …`);
  await inParallel(missing, uploadsMax, async (sha256) => {
    const path = byHash.get(sha256)?.path;
    if (path !== undefined) await client.blobs.put(sha256, await openAsBlob(join(dir, path)));
  });
  return missing.length;
}

async function findMissing(client: Client, hashes: string[]): Promise<string[]> {
  const missing: string[] = [];
  for (let start = 0; start < hashes.length; start += questionMax) {
    missing.push(...(await client.blobs.missing(hashes.slice(start, start + questionMax))).missing);
  }
  return missing;
}

async function list(context: Context, options: JsonOption): Promise<void> {
  const { terminal } = context;
  const client = await connectClient(context);
  const items = await collectPages((page) => client.datasets.list(page));
  if (options.json) return terminal.write(formatJson({ items, nextCursor: null }));
  if (items.length === 0) return terminal.note('No datasets yet; add one with "assay data add NAME FOLDER".');
  const columns = [
    { title: 'dataset' },
    { title: 'version', right: true },
    { title: 'files', right: true },
    { title: 'size', right: true },
    { title: 'added' },
  ];
  const rows = items.map(({ name, latest, createdAt }) => [
    name,
    String(latest?.version ?? ''),
    String(latest?.files ?? ''),
    latest === null ? '' : formatSize(latest.sizeBytes),
    terminal.isTerminal ? formatAge(latest?.committedAt ?? createdAt, Date.now()) : (latest?.committedAt ?? createdAt),
  ]);
  terminal.write(formatTable(terminal, columns, rows));
}

async function show(context: Context, name: string, options: ShowOptions): Promise<void> {
  const { terminal } = context;
  const client = await connectClient(context);
  if (options.version !== undefined) return showFiles(context, client, name, options.version, options);
  const dataset = await client.datasets.get(name);
  if (options.json) return terminal.write(formatJson(dataset));
  const columns = ['version', 'files', 'size', 'digest', 'added', 'by'].map((title) => ({ title }));
  const rows = dataset.versions.map((version) => [
    String(version.version),
    String(version.files),
    formatSize(version.sizeBytes),
    terminal.isTerminal ? version.digest.slice(0, 12) : version.digest,
    terminal.isTerminal ? formatAge(version.committedAt, Date.now()) : version.committedAt,
    version.committedBy,
  ]);
  terminal.write(formatTable(terminal, columns, rows));
}

async function showFiles(
  { terminal }: Context,
  client: Client,
  name: string,
  version: number,
  options: JsonOption,
): Promise<void> {
  const files = await client.datasets.files(name, version);
  if (options.json) return terminal.write(formatJson(files));
  const columns = [{ title: 'file', flexible: true }, { title: 'size', right: true }, { title: 'sha256' }];
  const rows = files.items.map(({ path, sizeBytes, sha256 }) => [
    path,
    terminal.isTerminal ? formatSize(sizeBytes) : String(sizeBytes),
    terminal.isTerminal ? sha256.slice(0, 12) : sha256,
  ]);
  terminal.write(formatTable(terminal, columns, rows));
}

function count(files: number): string {
  return files === 1 ? '1 file' : `${files} files`;
}
