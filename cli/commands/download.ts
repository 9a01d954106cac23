import { resolve } from 'node:path';
import type { Command } from 'commander';
import { connectClient } from '#cli/connection.ts';
import type { Context, JsonOption } from '#cli/context.ts';
import { downloadVerified, safeTarget } from '#cli/files/download-file.ts';
import { createDirectDownloads } from '#cli/files/direct-downloads.ts';
import { CliError } from '#cli/errors.ts';
import { formatJson, oneLine } from '#cli/output.ts';
import { inParallel } from '#cli/files/parallel.ts';
import { parseRun } from '#cli/project/project-here.ts';
import { formatSize } from '#cli/show/quantities.ts';
import type { Artifact } from '#contract/artifacts.ts';
import { didYouMean } from '#core/nearest.ts';

interface DownloadOptions extends JsonOption {
  output?: string;
}

const downloadsMax = 4;

export function addDownloadCommand(program: Command, context: Context): void {
  program
    .command('download')
    .summary('fetch files of a run, each checked against its sha256')
    .argument('<run>', 'PROJECT/NUMBER, or NUMBER inside a checkout')
    .argument('[paths...]', 'files or folders; everything when absent')
    .option('-o, --output <folder>', 'where to; PROJECT-NUMBER when absent')
    .option('--json', 'print the list of files as the API answers it')
    .action((run: string, paths: string[], options: DownloadOptions) => download(context, run, paths, options));
}

async function download(context: Context, text: string, paths: string[], options: DownloadOptions): Promise<void> {
  const { terminal } = context;
  const client = await connectClient(context);
  const run = await client.runs.get(await parseRun(context, text));
  const { items } = await client.artifacts.list(run.id);
  if (items.length === 0) throw new CliError(`${run.label} has no files${run.finishedAt === null ? ' yet' : ''}.`);
  const wanted = select(run.label, items, paths);
  const dir = resolve(context.cwd, options.output ?? run.label.replace('/', '-'));
  const direct = createDirectDownloads();
  await inParallel(wanted, downloadsMax, async (artifact) => {
    const { path, step, attempt } = artifact;
    const open = () => direct((query) => client.artifacts.open(run.id, path, { step, attempt, ...query }));
    const state = await downloadVerified(open, await safeTarget(dir, path), artifact);
    if (!options.json) terminal.note(`${state}  ${oneLine(path)}  ${formatSize(artifact.sizeBytes)}`);
  });
  terminal.write(options.json ? formatJson({ items: wanted }) : `${dir}\n`);
}

/** A path names a file, or a folder with all that is below it. */
function select(label: string, items: readonly Artifact[], paths: readonly string[]): Artifact[] {
  if (paths.length === 0) return [...items];
  const found = paths.flatMap((path) => {
    const folder = `${path.replace(/\/+$/, '')}/`;
    const matches = items.filter((item) => item.path === path || item.path.startsWith(folder));
    if (matches.length > 0) return matches;
    const names = items.map((item) => item.path);
    const some =
      names.length > 10 ? `${names.slice(0, 10).join(', ')} and ${names.length - 10} more` : names.join(', ');
    throw new CliError(`${label} has no file "${path}".${didYouMean(path, names)} It has: ${some}.`);
  });
  return [...new Set(found)];
}
