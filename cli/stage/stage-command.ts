// Starting a stage's command on this machine, as the process runner starts it: same directories, same variables.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import { hookVariables } from '#core/determinism.ts';
import { narrowParams } from '#core/params.ts';
import type { Params, ProjectConfig, Stage } from '#core/project.ts';
import { type StageData, type StageDirectories, stageVariables } from '#core/stage-variables.ts';
import { childEnvironment } from '#environment/process/child-environment.ts';
import { writeDeterministicHook } from '#environment/python/deterministic-hook.ts';
import type { Context } from '#cli/context.ts';

/** What the stage believes it is part of. */
interface StageIdentity {
  runId: string;
  runName: string;
  experiment: string;
  attempt: number;
  seed: number;
  commit: string;
  branch: string | null;
  asOf: string;
  runUrl: string | null;
}

/** Where a stage runs and with what. */
export interface StageSetting {
  config: ProjectConfig;
  stage: Stage;
  identity: StageIdentity;
  params: Params;
  work: string;
  /** Thrown away afterwards: home, temporary files, checkpoints, the parameters as JSON. */
  scratch: string;
  data: readonly StageData[];
  environment: { path: string; binDir: string };
  secrets: Readonly<Record<string, string>>;
}

export function directoriesOf({ config, stage, work, scratch }: StageSetting): StageDirectories {
  const model = config.models[0]?.path ?? 'model/';
  return {
    data: join(work, 'data'),
    input: work,
    output: join(work, 'outputs'),
    model: join(work, model.endsWith('/') ? model : dirname(model)),
    checkpoint: stage.checkpoints === null ? join(scratch, 'checkpoints') : join(work, stage.checkpoints),
    tensorboard: join(work, 'tensorboard'),
    home: join(scratch, 'home'),
    tmp: join(scratch, 'tmp'),
  };
}

export function paramsFileOf({ scratch }: Pick<StageSetting, 'scratch'>): string {
  return join(scratch, 'params.json');
}

const fromTerminal = /^(TERM|COLORTERM|LANG|LC_\w+|NO_COLOR|FORCE_COLOR)$/;

/** All variables of the command, with what a stage that asks to be deterministic needs besides. */
export async function prepareVariables(
  context: Context,
  setting: StageSetting,
  fromParams: Record<string, string>,
): Promise<NodeJS.ProcessEnv> {
  const variables = variablesOf(context, setting, fromParams);
  if (!setting.stage.deterministic) return variables;
  const folder = join(setting.scratch, 'deterministic');
  await writeDeterministicHook(folder);
  return { ...variables, ...hookVariables(variables, { folder, report: null }) };
}

/** Of the caller's own variables only those that installing processes and terminals need get through. */
function variablesOf(
  { env }: Context,
  setting: StageSetting,
  fromParams: Record<string, string>,
): Record<string, string> {
  const { config, stage, environment, identity, params, data } = setting;
  const own = Object.fromEntries(Object.entries(env).filter(([name]) => fromTerminal.test(name)));
  return {
    ...own,
    ...childEnvironment(env),
    ...stageVariables({
      ...identity,
      project: config.project,
      stage: stage.name,
      directories: directoriesOf(setting),
      paramsFile: paramsFileOf(setting),
      params: narrowParams(params, stage.params),
      gpus: devicesOf(env.CUDA_VISIBLE_DEVICES, stage),
      threads: Math.max(1, Math.floor(stage.resources.cpus ?? 1)),
      data,
      api: null,
      mlflow: null,
      deterministic: stage.deterministic,
    }),
    ...config.env,
    ...stage.env,
    ...fromParams,
    ...setting.secrets,
    VIRTUAL_ENV: environment.path,
    PATH: `${environment.binDir}:${env.PATH ?? '/usr/local/bin:/usr/bin:/bin'}`,
  };
}

/** A stage that asks for devices gets the caller's, else the first ones. */
function devicesOf(visible: string | undefined, { resources }: Stage): string[] {
  const count = resources.accelerators?.count ?? 0;
  const all = visible ? visible.split(',') : Array.from({ length: count }, (_, index) => String(index));
  return all.slice(0, count);
}

const signalled = 128;

/**
 * Runs the command and answers with its exit code; a signal counts as 128 and its number, as in a shell. Ctrl-C reaches
 * the command through the terminal, and this program waits for how it ends.
 */
export async function launch(
  command: string | readonly string[],
  options: { cwd: string; env: NodeJS.ProcessEnv; stdin: 'inherit' | 'ignore' },
): Promise<number> {
  const [program = '', ...args] = typeof command === 'string' ? ['/bin/sh', '-c', command] : command;
  const wait = () => undefined;
  process.on('SIGINT', wait);
  try {
    const child = spawn(program, args, {
      cwd: options.cwd,
      env: options.env,
      stdio: [options.stdin, 'inherit', 'inherit'],
    });
    const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
    return code ?? signalled + (signal === null ? 0 : constants.signals[signal]);
  } finally {
    process.removeListener('SIGINT', wait);
  }
}
