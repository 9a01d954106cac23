// `assay exec STAGE`: one stage in this very folder. Nothing is recorded; uncommitted changes are what it is for.
import { mkdir, mkdtemp, readFile, rm, rmdir, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeParamsFile } from '#contract/params-file.ts';
import { readDeclaredParams, seedOf } from '#contract/read-project.ts';
import { renderParams } from '#core/param-styles.ts';
import { narrowParams, type Overrides, resolveParams } from '#core/params.ts';
import type { Params, ProjectConfig, Stage } from '#core/project.ts';
import type { Context } from '#cli/context.ts';
import { openEnvironments, recipeOfFiles, watchInstalling } from './local-environments.ts';
import { type LocalProject, readLocalProject } from '#cli/project/local-project.ts';
import { directoriesOf, launch, paramsFileOf, prepareVariables, type StageSetting } from './stage-command.ts';
import { loadDataHere } from './data-here.ts';
import { findStage } from './find-stage.ts';

export interface ExecHere {
  root: string;
  stage: string;
  overrides: Overrides;
  seed: number | null;
  /** Replaces the stage's command. */
  command: readonly string[];
}

/** Answers with the exit code of the command. */
export async function execHere(context: Context, request: ExecHere): Promise<number> {
  const project = await readLocalProject(request.root);
  const stage = findStage(project.config, request.stage);
  const declared = await readDeclaredParams(project.repository, project.config);
  const params = resolveParams(declared, request.overrides, project.config.params.style);
  const environment = await localEnvironment(context, project);
  const scratch = await mkdtemp(join(tmpdir(), 'assay-exec-'));
  try {
    const setting = await prepare(context, project, stage, params, { request, environment, scratch });
    const code = await withParams(setting, () => start(context, setting, request));
    await removeEmpty(setting);
    return code;
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

async function prepare(
  context: Context,
  { config, root }: LocalProject,
  stage: Stage,
  params: Params,
  given: { request: ExecHere; environment: StageSetting['environment']; scratch: string },
): Promise<StageSetting> {
  const asOf = new Date().toISOString();
  const setting: StageSetting = {
    config,
    stage,
    params,
    work: root,
    scratch: given.scratch,
    environment: given.environment,
    secrets: secretsHere(context, config, stage),
    data: await loadDataHere(context, config.data, root, asOf),
    identity: {
      runId: 'local',
      runName: `${config.project}/local`,
      experiment: 'default',
      attempt: 1,
      seed: seedOf(config, given.request.seed),
      commit: '',
      branch: null,
      asOf,
      runUrl: null,
    },
  };
  const { home, tmp, checkpoint, output, model } = directoriesOf(setting);
  await Promise.all([home, tmp, checkpoint, output, model].map((dir) => mkdir(dir, { recursive: true })));
  await writeFile(paramsFileOf(setting), `${JSON.stringify(narrowParams(params, stage.params), null, 2)}\n`);
  return setting;
}

async function start(context: Context, setting: StageSetting, request: ExecHere): Promise<number> {
  const { config, stage, params, work } = setting;
  const isOwn = request.command.length > 0;
  const rendered = renderParams(
    config.params.style,
    stage.command,
    narrowParams(params, stage.params),
    request.overrides,
  );
  return launch(isOwn ? request.command : rendered.command, {
    cwd: work,
    env: await prepareVariables(context, setting, rendered.env),
    stdin: isOwn ? 'inherit' : 'ignore',
  });
}

/** Folders that were made for the stage and that it did not use. */
async function removeEmpty(setting: StageSetting): Promise<void> {
  const { output, model } = directoriesOf(setting);
  for (const dir of [output, model]) await rmdir(dir).catch(() => undefined);
}

/** A script that opens its parameter file finds the overrides in it; afterwards the file is as it was. */
async function withParams(setting: StageSetting, work: () => Promise<number>): Promise<number> {
  const { file, style } = setting.config.params;
  if (file === null || style !== 'json') return work();
  const path = join(setting.work, file);
  const original = await readFile(path, 'utf8');
  const changed = writeParamsFile(file, original, narrowParams(setting.params, setting.stage.params));
  if (changed === original) return work();
  await writeFile(path, changed);
  try {
    return await work();
  } finally {
    await writeFile(path, original);
  }
}

/** `.venv` as it is; made when it is not there. */
async function localEnvironment(
  context: Context,
  { root, config }: LocalProject,
): Promise<StageSetting['environment']> {
  const path = join(root, '.venv');
  if ((await stat(path).catch(() => null)) === null) {
    context.terminal.note('Making .venv from the requirement files here (assay env does this too) …');
    const environments = openEnvironments(context);
    const { lock, interpreter, packages } = await recipeOfFiles(context, environments, root, config);
    await environments.createLocalVenv({
      checkoutDir: root,
      lock,
      interpreter,
      packages,
      onLine: watchInstalling(context),
    });
  }
  return { path, binDir: join(path, 'bin') };
}

/** Values of secrets never leave the server; the caller's own variables stand in for them. */
function secretsHere({ env, terminal }: Context, config: ProjectConfig, stage: Stage): Record<string, string> {
  const missing = stage.secrets.filter((name) => env[name] === undefined);
  if (missing.length > 0) terminal.note(`Not set here, and the server never gives them out: ${missing.join(', ')}`);
  const asFile = stage.secrets.filter((name) => config.secretFiles.includes(name) && env[name] !== undefined);
  if (asFile.length > 0) terminal.note(`Taken as paths of files, as the stage expects them: ${asFile.join(', ')}`);
  return Object.fromEntries(stage.secrets.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]]])));
}
