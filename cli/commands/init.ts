import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import type { Context } from '#cli/context.ts';
import { CliError } from '#cli/errors.ts';
import { nameOfFolder, projectFileName, rootHere } from '#cli/project/project-here.ts';
import { openWorkingTree } from '#cli/project/tree-listing.ts';
import { draftProjectFile } from '#contract/draft.ts';

interface InitOptions {
  force?: boolean;
}

export function addInitCommand(program: Command, context: Context): void {
  program
    .command('init')
    .summary('write an assay.yaml from what is found here')
    .description('Looks at scripts, MLproject, dvc.yaml, pyproject.toml, parameter and requirement files.')
    .option('--force', 'replace an assay.yaml that is there')
    .action((options: InitOptions) => init(context, options));
}

async function init({ cwd, terminal }: Context, options: InitOptions): Promise<void> {
  const root = await rootHere(cwd);
  const path = join(root, projectFileName);
  if (!options.force && (await stat(path).catch(() => null)) !== null) {
    throw new CliError(`${path} is there already; --force replaces it.`);
  }
  await writeFile(path, await draftProjectFile(await openWorkingTree(root), nameOfFolder(root)));
  terminal.write(`${path}\n`);
  terminal.note('Check it with "assay lint", commit it, then "assay run --wait".');
}
