import type { Command } from 'commander';
import { connectClient } from '#cli/connection.ts';
import type { Context, JsonOption } from '#cli/context.ts';
import {
  openEnvironments,
  type Recipe,
  recipeOfFiles,
  recipeOfRun,
  watchInstalling,
} from '#cli/stage/local-environments.ts';
import { readEnvironmentChoice } from '#cli/project/local-project.ts';
import { formatJson } from '#cli/output.ts';
import { findRoot, parseRun } from '#cli/project/project-here.ts';
import { isFrozen } from '#environment/lock.ts';
import type { Environments } from '#environment/environments.ts';

interface EnvOptions extends JsonOption {
  replace?: boolean;
}

export function addEnvCommand(program: Command, context: Context): void {
  program
    .command('env')
    .summary("make .venv here identical to a run's environment")
    .description(
      "With RUN, .venv gets exactly the packages of that run's lock; without, those that the requirement files here resolve to now.",
    )
    .argument('[run]', 'PROJECT/NUMBER, or NUMBER inside a checkout')
    .option('--replace', 'replace a .venv of another Python')
    .option('--json', 'print what was made, as JSON')
    .action((run: string | undefined, options: EnvOptions) => makeEnvironment(context, run, options));
}

async function makeEnvironment(context: Context, run: string | undefined, options: EnvOptions): Promise<void> {
  const { terminal } = context;
  const root = (await findRoot(context.cwd)) ?? context.cwd;
  const environments = openEnvironments(context);
  const recipe = await chooseRecipe(context, environments, root, run);
  const { lock, interpreter, packages } = recipe;
  const path = await environments.createLocalVenv({
    checkoutDir: root,
    lock,
    interpreter,
    packages,
    replace: options.replace === true,
    onLine: watchInstalling(context),
  });
  if (options.json) {
    return terminal.write(
      formatJson({ path, lockSha256: lock.sha256, python: interpreter.version, from: recipe.from }),
    );
  }
  const what = isFrozen(lock.text) ? 'as it is installed here' : `lock ${lock.sha256.slice(0, 12)}`;
  terminal.write(`${path}\n`);
  terminal.note(`Python ${interpreter.version}, ${what}, from ${recipe.from}. Use it: source ${path}/bin/activate`);
}

async function chooseRecipe(
  context: Context,
  environments: Environments,
  root: string,
  run: string | undefined,
): Promise<Recipe> {
  if (run === undefined) return recipeOfFiles(context, environments, root, await readEnvironmentChoice(root));
  const client = await connectClient(context);
  return recipeOfRun(context, environments, client, await client.runs.get(await parseRun(context, run)), root);
}
