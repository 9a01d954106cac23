// Prepares a stage's workspace and starts its command there.
import { join } from 'node:path';
import { DomainError } from '#core/errors.ts';
import { findOutputClash } from '#core/outputs.ts';
import { renderParams } from '#core/param-styles.ts';
import { narrowParams } from '#core/params.ts';
import type { Params, Stage } from '#core/project.ts';
import { numericVariables, type StageData, stageVariables } from '#core/stage-variables.ts';
import { type LaunchFacts, noteLaunch } from '#db/attempts.ts';
import { type Artifact, listOutputs } from '#db/outputs.ts';
import { listRunData } from '#db/run-data.ts';
import type { SharedEnvironment, StageEnvironment } from '#activities/environments.ts';
import { dataWriters } from '#activities/load-data.ts';
import { persevere } from '#activities/persevere.ts';
import type { Watch } from './watch.ts';
import type { StageHandle, StageSpec } from '#activities/runners/runner.ts';
import { restoreCheckpoints } from './checkpoints/restore-checkpoints.ts';
import { stageToken } from './secrets.ts';
import { ancestors } from './ancestors.ts';
import { prepareDeterminism } from './determinism.ts';
import { threadsOf } from './ingredients.ts';
import { prepareWorkspace } from './workspace.ts';

/** Processes and threads of one stage; a data loader of every core of a large node stays below. */
const pidsMax = 4_096;

export async function launchStage(watch: Watch): Promise<StageHandle> {
  const { deps, loaded, config, stage, attempt, space } = watch;
  const { run } = loaded;
  if (run.sourceSha256 === null || run.environmentKey === null)
    throw new TypeError('a launched run has source and environment');
  const { sourceSha256 } = run;
  const openRoot = () => deps.sources.directory(sourceSha256);
  const needed = ancestors(config.stages, stage.name);
  const [shared, given, data, source] = await Promise.all([
    deps.environments.use(run.environmentKey, { config, openRoot }, () => undefined),
    listOutputs(deps.db, run.id, attempt.execution),
    listRunData(deps.db, run.id),
    openRoot(),
  ]);
  const outputs = withoutReplaced(
    config.stages,
    given.filter(({ step }) => needed.has(step)),
  );
  refuseClash(stage.name, outputs);
  await prepareWorkspace(deps.store, space, {
    config,
    stage,
    params: run.params as Params,
    source,
    upstream: outputs,
    data: dataWriters(deps, config, data),
    secretFiles: Object.fromEntries(config.secretFiles.flatMap((name) => fileSecret(watch, name))),
  });
  await restoreCheckpoints(watch);
  const tree = { config, sourceDir: space.work, target: join(space.root, 'venv') };
  const environment = await deps.environments.forStage(shared, tree);
  const apiUrl = await deps.runner.apiUrl(stage.network, deps.publicUrl);
  const spec = specOf(
    watch,
    environment,
    apiUrl,
    data.map(({ name, to, datasetName }) => ({ name, path: join(space.work, to), isFolder: datasetName !== null })),
  );
  Object.assign(spec.variables, await prepareDeterminism(space, stage, spec.variables));
  await persevere(() => noteLaunch(deps.db, attempt, factsOf(watch, shared, spec)));
  return await deps.runner.start(spec);
}

/** A secret that takes the name of one of these variables stays out of the record. */
function factsOf({ secrets }: Watch, shared: SharedEnvironment, { image, variables }: StageSpec): LaunchFacts {
  const { libc } = shared.interpreter.platform;
  const open = Object.entries(variables).filter(([name]) => secrets[name] === undefined);
  return {
    hardware: image === null ? { libc } : { libc, image },
    variables: numericVariables(Object.fromEntries(open)),
  };
}

/** A stage that rewrites what it was given replaces it for those that need both. */
function withoutReplaced(stages: readonly Stage[], outputs: readonly Artifact[]): Artifact[] {
  const byPath = Map.groupBy(outputs, (output) => output.path);
  return outputs.filter(({ path, step }) =>
    (byPath.get(path) ?? []).every((other) => other.step === step || !ancestors(stages, other.step).has(step)),
  );
}

/** Two stages that know nothing of each other and give one path: which of them counts would be chance. */
function refuseClash(stage: string, outputs: readonly Artifact[]): void {
  const byStage = Map.groupBy(outputs, (output) => output.step);
  const clash = findOutputClash(new Map([...byStage].map(([name, list]) => [name, list.map(({ path }) => path)])));
  if (clash === null) return;
  throw new DomainError(
    'invalid-project-file',
    `${stage} needs ${clash.stages.join(' and ')}, and both wrote ${clash.path}. Declare outputs, or let one of them write elsewhere.`,
  );
}

function fileSecret({ secrets }: Watch, name: string): Array<[string, string]> {
  const value = secrets[name];
  return value === undefined ? [] : [[name, value]];
}

function specOf(watch: Watch, environment: StageEnvironment, apiUrl: string | null, data: StageData[]): StageSpec {
  const { deps, loaded, config, stage, attempt, space } = watch;
  const params = narrowParams(loaded.run.params as Params, stage.params);
  const rendered = renderParams(config.params.style, stage.command, params, loaded.run.overrides as Params);
  const { memoryGib, cpus } = stage.resources;
  return {
    name: attempt.launch,
    command: typeof rendered.command === 'string' ? ['/bin/sh', '-c', rendered.command] : rendered.command,
    image: environment.image,
    variables: {
      ...variablesOf(watch, apiUrl, data),
      ...config.env,
      ...stage.env,
      ...rendered.env,
      ...secretVariables(watch),
      ...(environment.venv === null ? {} : { VIRTUAL_ENV: environment.venv }),
      PATH: environment.searchPath,
    },
    files: { root: space.root, workDir: space.work, writable: [space.root, space.directories.tmp] },
    limits: {
      memoryBytes: memoryGib === null ? null : Math.floor(memoryGib * 2 ** 30),
      cpus,
      pids: pidsMax,
      fileBytes: null,
      logBytes: deps.logBytesMax,
    },
    network: stage.network,
    graceMs: stage.graceMs,
    devices: attempt.devices,
  };
}

function variablesOf({ loaded, stage, attempt, space, deps }: Watch, apiUrl: string | null, data: StageData[]) {
  const { run, project } = loaded;
  return stageVariables({
    runId: run.id,
    runName: `${project.name}/${run.number}`,
    project: project.name,
    experiment: run.experiment,
    stage: stage.name,
    attempt: attempt.fence,
    directories: space.directories,
    paramsFile: space.paramsFile,
    params: narrowParams(run.params as Params, stage.params),
    seed: run.seed ?? 0,
    gpus: attempt.devices,
    threads: threadsOf(stage),
    commit: run.commit ?? '',
    branch: run.branch,
    data,
    runUrl: `${deps.publicUrl}/api/v1/runs/${run.id}`,
    api: apiUrl === null ? null : { url: apiUrl, token: stageToken(deps.secretsKey, attempt.launch) },
    mlflow: null,
    deterministic: stage.deterministic,
  });
}

/** A secret that is given as a file has the file's path as its variable. */
function secretVariables({ secrets, config, space }: Watch): Record<string, string> {
  return Object.fromEntries(
    Object.entries(secrets).map(([name, value]) => [
      name,
      config.secretFiles.includes(name) ? join(space.root, 'secrets', name) : value,
    ]),
  );
}
