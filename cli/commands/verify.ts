import type { KeyObject } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { Context, JsonOption } from '#cli/context.ts';
import { exitCodes } from '#cli/errors.ts';
import { formatJson, oneLine } from '#cli/output.ts';
import { formatSize } from '#cli/show/quantities.ts';
import { readPublicKey } from '#proof/envelope.ts';
import { type VerifiedBundle, verifyBundle } from '#proof/verify-bundle.ts';

interface VerifyOptions extends JsonOption {
  key?: string;
}

export function addVerifyCommand(program: Command, context: Context): void {
  program
    .command('verify')
    .summary('check an exported archive, without a server')
    .description(
      'Checks every byte, the signature and what it vouches for. One line for each thing that does not hold.',
    )
    .argument('<file>', 'the archive that `assay export` wrote')
    .option('--key <file>', 'PEM of the public key that has to have signed; else the one in the archive is taken')
    .option('--json', 'print what was found as JSON')
    .action((file: string, options: VerifyOptions) => verify(context, file, options));
}

async function verify(context: Context, file: string, options: VerifyOptions): Promise<void> {
  const { terminal } = context;
  const expected = options.key === undefined ? null : await readKey(context, options.key);
  const bundle = await verifyBundle(resolve(context.cwd, file), expected);
  if (bundle.problems.length > 0) process.exitCode = exitCodes.failed;
  if (options.json) return terminal.write(formatJson({ holds: bundle.problems.length === 0, ...bundle }));
  for (const problem of bundle.problems) terminal.write(`${oneLine(problem)}\n`);
  if (bundle.problems.length > 0) {
    const count = bundle.problems.length === 1 ? '1 thing does' : `${bundle.problems.length} things do`;
    terminal.note(`${terminal.paintNote('red', 'not verified')}: ${count} not hold.`);
    return;
  }
  terminal.write(`${sentence(bundle)}\n`);
  if (expected === null) {
    terminal.note(
      "The key is the one in the archive. Whether it is the server's, --key KEY.pem says; the server lists its keys at /api/v1/keys.",
    );
  }
}

function sentence({ run, files, sizeBytes, keyId, data }: VerifiedBundle): string {
  const leftOut = data === 'left out' ? ' Its data was left out.' : '';
  return `${run}: all ${files} files hold (${formatSize(sizeBytes)}), signed by ${keyId}.${leftOut}`;
}

async function readKey(context: Context, path: string): Promise<KeyObject> {
  return readPublicKey(await readFile(resolve(context.cwd, path), 'utf8'), path);
}
