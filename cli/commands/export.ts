import { rename, rm, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { connectClient } from '#cli/connection.ts';
import type { Context, JsonOption } from '#cli/context.ts';
import { CliError } from '#cli/errors.ts';
import { downloadResumable } from '#cli/files/resumable-download.ts';
import { formatJson } from '#cli/output.ts';
import { parseRun } from '#cli/project/project-here.ts';
import { formatSize } from '#cli/show/quantities.ts';
import { type VerifiedBundle, verifyBundle } from '#proof/verify-bundle.ts';

interface ExportOptions extends JsonOption {
  data: boolean;
  force?: boolean;
}

export function addExportCommand(program: Command, context: Context): void {
  program
    .command('export')
    .summary('write everything of a run into one archive that proves itself')
    .argument('<run>', 'PROJECT/NUMBER, or NUMBER inside a checkout')
    .argument('[file]', 'the archive; PROJECT-NUMBER.bundle.tar when absent')
    .option('--without-data', 'leave out the rows and files of the data; their digests stay')
    .option('--force', 'replace a file that is there')
    .option('--json', 'print what the archive holds as JSON')
    .action((run: string, file: string | undefined, options: ExportOptions & { withoutData?: boolean }) =>
      exportRun(context, run, file, { ...options, data: options.withoutData !== true }),
    );
}

async function exportRun(context: Context, text: string, file: string | undefined, options: ExportOptions) {
  const { terminal } = context;
  const client = await connectClient(context);
  const run = await client.runs.get(await parseRun(context, text));
  const target = resolve(context.cwd, file ?? `${run.label.replace('/', '-')}.bundle.tar`);
  if (options.force !== true && (await isThere(target))) {
    throw new CliError(`${target} is there already; name another file, or replace it with --force.`);
  }
  const query = { data: options.data ? 'include' : 'leave-out' } as const;
  const part = await downloadResumable(
    (goOn) => client.runs.openBundle(run.id, query, goOn),
    target,
    (line) => terminal.note(line),
  );
  const bundle = await checkPart(part);
  await rename(part, target);
  if (options.json) return terminal.write(formatJson({ file: target, ...bundle }));
  const data = bundle.data === 'left out' ? ', without its data' : '';
  terminal.note(`${bundle.files} files${data}, ${formatSize(bundle.sizeBytes)}, signed by ${bundle.keyId}`);
  terminal.write(`${target}\n`);
}

/** What does not hold is thrown away: fetching it again is the only thing that can help. */
async function checkPart(path: string): Promise<VerifiedBundle> {
  const bundle = await verifyBundle(path, null);
  if (bundle.problems.length === 0) return bundle;
  await rm(path, { force: true });
  throw new CliError(
    `The archive arrived and does not hold, so it was thrown away. If that happens again, something that the server keeps of the run was damaged.`,
    { details: bundle.problems },
  );
}

function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
