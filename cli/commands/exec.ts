import type { Command } from 'commander';
import { collect, parseAssignments } from '#cli/words/assignments.ts';
import type { Context } from '#cli/context.ts';
import { CliError } from '#cli/errors.ts';
import { execHere } from '#cli/stage/exec-here.ts';
import { execRun } from '#cli/stage/exec-run.ts';
import { findRoot, parseRun } from '#cli/project/project-here.ts';
import { isRunReference } from '#cli/words/run-reference.ts';
import { parseSeed } from '#cli/words/seeds.ts';

interface ExecOptions {
  param?: string[];
  seed?: number;
  keep?: boolean;
}

export function addExecCommand(program: Command, context: Context): void {
  program
    .command('exec')
    .summary('run one stage here, or open a stage of a run with its inputs')
    .usage('[options] STAGE [-- COMMAND…]\n       assay exec [options] RUN STAGE [-- COMMAND…]')
    .description(
      "Under the same directories and variables as in a run; nothing is recorded. STAGE alone runs in this folder with uncommitted changes and .venv. With RUN, its code, data, upstream files and packages are fetched into a temporary folder. COMMAND replaces the stage's own, for example bash.",
    )
    .argument('<words...>', 'STAGE, or RUN STAGE; then a command behind --')
    .option('-P, --param <name=value>', 'override a parameter; only without RUN; may be repeated', collect)
    .option('--seed <number>', 'another seed; only without RUN', parseSeed)
    .option('--keep', 'leave the temporary folder; only with RUN')
    .action(async (words: string[], options: ExecOptions) => {
      process.exitCode = await exec(context, words, options);
    });
}

async function exec(context: Context, words: string[], options: ExecOptions): Promise<number> {
  const [first = '', second, ...rest] = words;
  if (isRunReference(first)) {
    if (second === undefined) throw new CliError(`Found a run and no stage; expected assay exec ${first} STAGE.`);
    if (options.param !== undefined || options.seed !== undefined) {
      throw new CliError(
        'Found -P or --seed with a run, whose parameters are fixed; use assay run --like RUN -P NAME=VALUE.',
      );
    }
    return execRun(context, {
      run: await parseRun(context, first),
      stage: second,
      command: rest,
      keep: options.keep ?? false,
    });
  }
  return execHere(context, {
    root: (await findRoot(context.cwd)) ?? context.cwd,
    stage: first,
    overrides: parseAssignments(options.param ?? []),
    seed: options.seed ?? null,
    command: second === undefined ? [] : [second, ...rest],
  });
}
