import { randomUUID } from 'node:crypto';
import type { Command } from 'commander';
import { connectClient } from '#cli/connection.ts';
import type { Context, JsonOption } from '#cli/context.ts';
import { exitCodes } from '#cli/errors.ts';
import { formatJson } from '#cli/output.ts';
import { parseRun } from '#cli/project/project-here.ts';
import { exitCodeOf, followRun, tellOutcome } from '#cli/wait.ts';
import type { Run } from '#contract/runs.ts';
import type { Client } from '#sdk/client.ts';

export function addVerifyDeterminismCommand(program: Command, context: Context): void {
  program
    .command('verify-determinism')
    .summary('run one stage twice and say whether it writes the same bytes')
    .description(
      'Runs the stage two times, each as a run of its own, with the code, packages and data of RUN and on the files that the stages before it wrote there. Exit code 0 when both wrote the same bytes, else 1.',
    )
    .argument('<run>', 'PROJECT/NUMBER, or NUMBER inside a checkout')
    .argument('<step>', 'a stage of the run')
    .option('--json', 'print each file with its digests')
    .action((run: string, step: string, options: JsonOption) => verifyDeterminism(context, run, step, options));
}

async function verifyDeterminism(context: Context, text: string, step: string, options: JsonOption): Promise<void> {
  const client = await connectClient(context);
  const reference = await parseRun(context, text);
  const again = () => client.runs.reproduce(reference, { only: step }, { idempotencyKey: randomUUID() });
  const first = await again();
  const second = await again();
  const wrote: Map<string, string>[] = [];
  for (const { label } of [first, second]) {
    const ended = await followRun(context, client, label);
    if (ended === null) {
      process.exitCode = exitCodes.interrupted;
      return;
    }
    if (ended.status !== 'succeeded') {
      tellOutcome(context.terminal, ended, options);
      process.exitCode = exitCodeOf(ended);
      return;
    }
    wrote.push(await filesOf(client, ended, step));
  }
  const files = compare(wrote[0] ?? new Map(), wrote[1] ?? new Map());
  const isDeterministic = files.every(({ sha256: [a, b] }) => a === b);
  const found = {
    run: reference,
    step,
    deterministic: isDeterministic,
    executions: [first.label, second.label],
    files,
  };
  context.terminal.write(options.json ? formatJson(found) : formatFound(found));
  process.exitCode = isDeterministic ? exitCodes.ok : exitCodes.failed;
}

interface Compared {
  path: string;
  /** Of the first and of the second execution; null where it did not write the file. */
  sha256: [string | null, string | null];
}

interface Found {
  run: string;
  step: string;
  deterministic: boolean;
  executions: string[];
  files: Compared[];
}

async function filesOf(client: Client, run: Run, step: string): Promise<Map<string, string>> {
  const { items } = await client.artifacts.list(run.id, { step });
  return new Map(items.map(({ path, sha256 }) => [path, sha256]));
}

function compare(first: Map<string, string>, second: Map<string, string>): Compared[] {
  const paths = [...new Set([...first.keys(), ...second.keys()])].toSorted();
  return paths.map((path) => ({ path, sha256: [first.get(path) ?? null, second.get(path) ?? null] }));
}

const digestShown = 12;

function formatFound({ run, step, deterministic, executions, files }: Found): string {
  const [first = '', second = ''] = executions;
  if (files.length === 0) return `${step} of ${run} wrote no files in ${first} and ${second}, so nothing can differ.\n`;
  if (deterministic) {
    const same = files.length === 1 ? 'the same file' : `the same ${files.length} files`;
    return `${step} of ${run} is deterministic: ${first} and ${second} wrote ${same}, byte for byte.\n`;
  }
  const different = files.filter(({ sha256: [a, b] }) => a !== b);
  const shown = (sha256: string | null) => sha256?.slice(0, digestShown) ?? 'not written';
  const rows = different.map(
    ({ path, sha256: [a, b] }) => `  ${path}: ${shown(a)} in ${first}, ${shown(b)} in ${second}\n`,
  );
  return `${step} of ${run} is not deterministic: ${different.length} of ${files.length} files differ.\n${rows.join('')}`;
}
