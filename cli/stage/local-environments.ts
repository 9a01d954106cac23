// Python environments of this machine, made as the server makes them.
import { resolve } from 'node:path';
import type { ProjectConfig } from '#core/project.ts';
import type { Run } from '#contract/runs.ts';
import { createEnvironments, type Environments } from '#environment/environments.ts';
import { noPython } from '#environment/image/no-python.ts';
import { isFrozen, type Lock, readLock } from '#environment/lock.ts';
import { type Interpreter, platformName } from '#environment/python/interpreters.ts';
import type { LocalPackage } from '#environment/sources/local-packages.ts';
import type { Client } from '#sdk/client.ts';
import type { Context } from '#cli/context.ts';
import { CliError } from '#cli/errors.ts';
import { oneLine } from '#cli/output.ts';
import { cachePath } from '#cli/settings.ts';

/** What an environment is made from. */
export interface Recipe {
  lock: Lock;
  interpreter: Interpreter;
  packages: readonly LocalPackage[];
  /** Where it came from, for people. */
  from: string;
}

export function openEnvironments({ env }: Context): Environments {
  return createEnvironments({
    cacheDir: cachePath(env),
    variables: env,
    ...(env.ASSAY_PYTHON ? { python: env.ASSAY_PYTHON } : {}),
    ...(env.ASSAY_INDEX_URL ? { index: { defaultIndex: env.ASSAY_INDEX_URL } } : {}),
    extraCaFile: env.ASSAY_EXTRA_CA ? resolve(env.ASSAY_EXTRA_CA) : null,
  });
}

/** Installing says much; only the last line matters while it goes on, and only on a screen. */
export function watchInstalling({ terminal }: Context): (line: string) => void {
  const { screen } = terminal;
  if (screen === null) return () => undefined;
  return (line) => screen.write(`\r\u001b[K${oneLine(line).slice(0, screen.columns - 1)}\r`);
}

/** The requirement files that lie here, resolved now. */
export async function recipeOfFiles(
  context: Context,
  environments: Environments,
  root: string,
  config: Pick<ProjectConfig, 'requirements' | 'python'>,
): Promise<Recipe> {
  const source = await environments.findSource(root, config);
  const { interpreter, notes } = await environments.selectPython(source.python);
  for (const note of [...source.notes, ...notes]) context.terminal.note(note);
  const lock = await environments.resolve({ root, source, interpreter, onLine: watchInstalling(context) });
  return { lock, interpreter, packages: source.packages, from: source.file ?? 'no requirement file' };
}

/**
 * The lock of a run with the Python it ran on; `root` holds the code whose own packages are installed. What ran in
 * containers is made for this machine, and what differs is said.
 */
export async function recipeOfRun(
  { terminal }: Context,
  environments: Environments,
  client: Client,
  run: Run,
  root: string,
): Promise<Recipe> {
  const made = madeFor(run);
  const response = await client.runs.openLock(run.id);
  const lock = readLock(await response.text());
  const isExact = made.base === null;
  const request = { request: isExact ? `==${made.python}` : made.python, from: run.label, isExact };
  const { interpreter, notes } = await environments.selectPython(request);
  for (const note of [...notes, ...differences(run, made, lock, interpreter)]) terminal.note(note);
  const config = run.config as ProjectConfig | null;
  const { packages } = await environments.findSource(root, config ?? {});
  return { lock, interpreter, packages, from: run.label };
}

interface MadeFor {
  /** The exact version, as the step that made the environment recorded it. */
  python: string;
  platform: string;
  /** The base image of a run in containers. */
  base: string | null;
}

function madeFor(run: Run): MadeFor {
  const facts = run.steps.find((step) => step.name === 'build-environment')?.facts;
  const { python, platform, base } = facts ?? {};
  if (typeof python !== 'string') {
    throw new CliError(
      `${run.label} has no environment${run.finishedAt === null ? ' yet' : ''}; it ended before one was made.`,
    );
  }
  const reference = (base as { reference?: string } | null | undefined)?.reference ?? null;
  if (python === noPython) {
    throw new CliError(
      `${run.label} ran in ${reference}, which has no Python, so there is no environment to make here.`,
    );
  }
  return { python, platform: typeof platform === 'string' ? platform : '', base: reference };
}

function differences(run: Run, { python, platform, base }: MadeFor, lock: Lock, interpreter: Interpreter): string[] {
  if (base === null) return [];
  const here = platformName(interpreter.platform);
  const isSame = here === platform && interpreter.version === python;
  return [
    ...(isSame
      ? []
      : [
          `${run.label} ran in ${base} with Python ${python} on ${platform}; here are Python ${interpreter.version} and ${here}.`,
        ]),
    ...(isFrozen(lock.text)
      ? [`${run.label} used the packages of ${base} itself; here are those of ${interpreter.path}.`]
      : []),
  ];
}
