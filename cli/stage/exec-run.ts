// `assay exec RUN STAGE`: a stage of a run again, on this machine, with the very code, data, inputs and packages it had.
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeParamsFile } from '#contract/params-file.ts';
import type { Run } from '#contract/runs.ts';
import { renderParams } from '#core/param-styles.ts';
import { narrowParams, type Overrides } from '#core/params.ts';
import type { Params, ProjectConfig } from '#core/project.ts';
import { connect } from '#cli/connection.ts';
import type { Context } from '#cli/context.ts';
import { CliError } from '#cli/errors.ts';
import { findStage } from './find-stage.ts';
import { openEnvironments, recipeOfRun, watchInstalling } from './local-environments.ts';
import { fetchData, fetchSource, fetchUpstream } from './run-material.ts';
import { directoriesOf, launch, paramsFileOf, prepareVariables, type StageSetting } from './stage-command.ts';

export interface ExecRun {
  run: string;
  stage: string;
  /** Replaces the stage's command, for example `bash`. */
  command: readonly string[];
  /** Leaves the folder afterwards. */
  keep: boolean;
}

/** Answers with the exit code of the command. */
export async function execRun(context: Context, request: ExecRun): Promise<number> {
  const { terminal } = context;
  const dir = await mkdtemp(join(tmpdir(), 'assay-exec-'));
  try {
    const { setting, run } = await prepare(context, request, dir);
    terminal.note(`${run.label} ${request.stage} in ${setting.work}${request.keep ? '' : ', removed afterwards'}`);
    return await start(context, setting, run, request.command);
  } finally {
    if (request.keep) terminal.note(`Kept: ${dir}`);
    else await rm(dir, { recursive: true, force: true });
  }
}

async function prepare(context: Context, request: ExecRun, dir: string): Promise<{ setting: StageSetting; run: Run }> {
  const { client, server } = await connect(context);
  const run = await client.runs.get(request.run);
  const config = run.config as ProjectConfig | null;
  if (config === null || run.params === null) {
    throw new CliError(`${run.label} ended before its commit was read, so it has no stages to open.`);
  }
  const stage = findStage(config, request.stage);
  const [work, scratch] = [join(dir, 'work'), join(dir, 'scratch')];
  await Promise.all([mkdir(work), mkdir(scratch)]);
  await fetchSource(client, run, config, stage, work);
  const files = await fetchUpstream(client, run, config, stage, work);
  const data = await fetchData(client, run, work);
  context.terminal.note(`Fetched: the code, files of earlier stages (${files}), data (${data.length}).`);
  const environments = openEnvironments(context);
  const recipe = await recipeOfRun(context, environments, client, run, work);
  const onLine = watchInstalling(context);
  const { lock, interpreter, packages } = recipe;
  const environmentKey = environments.environmentKey(lock, interpreter);
  const shared = await environments.materialise({ environmentKey, lock, interpreter, onLine });
  const target = join(scratch, 'environment');
  const environment = await environments.installProject({
    sourceDir: work,
    packages,
    environment: shared,
    interpreter,
    target,
    onLine,
  });
  const setting: StageSetting = {
    config,
    stage,
    params: run.params as Params,
    work,
    scratch,
    data,
    environment,
    secrets: Object.fromEntries(
      stage.secrets.flatMap((name) => (context.env[name] === undefined ? [] : [[name, context.env[name]]])),
    ),
    identity: {
      runId: run.id,
      runName: run.label,
      experiment: run.experiment,
      attempt: run.steps.find((step) => step.name === stage.name)?.attempts.at(-1)?.attempt ?? 1,
      seed: run.seed ?? 0,
      commit: run.commit ?? '',
      branch: run.branch,
      asOf: run.asOf,
      runUrl: `${server.url}/api/v1/runs/${run.id}`,
    },
  };
  await writeFiles(setting);
  return { setting, run };
}

async function writeFiles(setting: StageSetting): Promise<void> {
  const { config, stage, work } = setting;
  const { home, tmp, checkpoint, output, model } = directoriesOf(setting);
  await Promise.all([home, tmp, checkpoint, output, model].map((path) => mkdir(path, { recursive: true })));
  const params = narrowParams(setting.params, stage.params);
  await writeFile(paramsFileOf(setting), `${JSON.stringify(params, null, 2)}\n`);
  const { file, style } = config.params;
  if (file === null || style !== 'json') return;
  const path = join(work, file);
  await writeFile(path, writeParamsFile(file, await readFile(path, 'utf8'), params));
}

async function start(context: Context, setting: StageSetting, run: Run, command: readonly string[]): Promise<number> {
  const { config, stage, work } = setting;
  const params = narrowParams(setting.params, stage.params);
  const rendered = renderParams(config.params.style, stage.command, params, run.overrides as Overrides);
  const isOwn = command.length > 0;
  return launch(isOwn ? command : rendered.command, {
    cwd: work,
    env: await prepareVariables(context, setting, rendered.env),
    stdin: isOwn ? 'inherit' : 'ignore',
  });
}
