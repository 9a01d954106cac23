// What Assay does with a repository that has no assay.yaml: MLproject, then the usual entry scripts.
import type { ProjectConfig } from '#core/project.ts';
import { projectNameFrom } from '#core/names.ts';
import { detectParams } from './detect-params.ts';
import { findEntryPoint } from './entry-point.ts';
import { mainEntryPoint, readMlProject } from './mlproject.ts';
import { createProjectConfig, defaultStage } from './project-config.ts';
import type { Repository } from './repository.ts';

/** What detection can say without a project file. */
export type Detected = Pick<ProjectConfig, 'origin' | 'stages' | 'params' | 'python'>;

/** One stage, from MLproject or an entry script. Throws `no-entry-point` with the candidates and the command to use. */
export async function detectProject(repository: Repository, projectName: string): Promise<ProjectConfig> {
  return configOf(await detect(repository), projectName);
}

/** Throws `no-entry-point`, or `invalid-project-file` for an MLproject that MLflow would not read either. */
export async function detect(repository: Repository): Promise<Detected> {
  const mlProject = await repository.read('MLproject');
  return mlProject === null ? detectScript(repository) : detectMlProject(repository, mlProject);
}

/**
 * `assay run -- COMMAND`: one stage named `main` in place of the project's stages. What else the project says still
 * holds, save that rules of metrics name stages that no longer exist.
 */
export async function withCommand(
  repository: Repository,
  config: ProjectConfig | null,
  command: readonly string[],
  projectName: string,
): Promise<ProjectConfig> {
  const stages = [defaultStage('main', [...command])];
  const script = command.find((word) => word.endsWith('.py')) ?? moduleScript(repository, command);
  const text = script === undefined ? null : await repository.read(script);
  // A command given by hand takes further parameters by hand too.
  const found = detectParams(repository, text);
  const params = found.file === null && found.style === 'json' ? { ...found, style: 'argv' as const } : found;
  if (config === null)
    return configOf({ origin: 'the command of the submit', stages, params, python: null }, projectName);
  const declare = Object.entries(config.metrics.declare).map(
    ([key, value]) => [key, { ...value, from: null }] as const,
  );
  return {
    ...config,
    origin: `the command of the submit, ${config.origin}`,
    stages: stages.map((stage) => ({ ...stage, secrets: config.secrets, network: config.network })),
    params: config.params.file !== null || config.params.defaults !== null ? config.params : params,
    metrics: { ...config.metrics, declare: Object.fromEntries(declare) },
  };
}

async function detectScript(repository: Repository): Promise<Detected> {
  const { command, env, script } = await findEntryPoint(repository);
  const params = detectParams(repository, await repository.read(script));
  return {
    origin: `zero configuration: ${script}`,
    stages: [defaultStage('train', command, env)],
    params,
    python: null,
  };
}

async function detectMlProject(repository: Repository, text: string): Promise<Detected> {
  const project = readMlProject(text);
  if (project.entryPoints.length === 0) return detectScript(repository);
  const { name, command, defaults } = mainEntryPoint(project);
  const pythonEnv = project.pythonEnv === null ? null : await repository.read(project.pythonEnv);
  return {
    origin: `MLproject: ${name}`,
    stages: [defaultStage('main', command)],
    params: { file: null, style: 'template', defaults },
    python: pythonEnv === null ? null : pythonOf(pythonEnv),
  };
}

/** The `python:` line of a python_env.yaml. */
function pythonOf(text: string): string | null {
  return /^python:\s*["']?[=<>~]*(3(?:\.\d{1,2}){0,2})["']?\s*$/m.exec(text)?.[1] ?? null;
}

/** `python -m pets.train` → pets/train.py or src/pets/train.py. */
function moduleScript(repository: Repository, command: readonly string[]): string | undefined {
  const module = command[command.indexOf('-m') + 1];
  if (!command.includes('-m') || module === undefined) return undefined;
  const path = module.replaceAll('.', '/');
  const candidates = [`${path}.py`, `src/${path}.py`, `${path}/__main__.py`, `src/${path}/__main__.py`];
  return candidates.find((candidate) => repository.files.includes(candidate));
}

function configOf(detected: Detected, projectName: string): ProjectConfig {
  const name = projectNameFrom(projectName) ?? 'project';
  const { origin, stages, params, python } = detected;
  return createProjectConfig({ file: python === null ? {} : { python }, origin, projectName: name, stages, params });
}
