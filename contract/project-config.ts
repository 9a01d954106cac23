// assay.yaml as written → the project's configuration, with every default in its place.
import type {
  DataFormat,
  DataSource,
  MetricDeclaration,
  ModelDeclaration,
  ProjectConfig,
  Resources,
  Stage,
} from '#core/project.ts';
import { parseAccelerators, parseCpus, parseDuration, parseMemoryGib } from '#core/quantities.ts';
import { catchUpSeconds, defaultOverlap, defaultTimeZone, type ScheduleDeclaration } from '#core/schedule.ts';
import { notYetSentences } from './not-yet.ts';
import { plainPath } from './project-checks.ts';
import type { ProjectFile, StageFile } from './project-schema.ts';
import { needsOf, orderStages } from './stage-order.ts';

/** Long enough for a training over a weekend and more; a stage that hangs ends some day. */
const timeoutDefault = '7d';
const graceDefault = '60s';

/** A valid file with the name that counts; `stages` and `params` may come from what was detected. */
export interface ProjectParts {
  file: ProjectFile;
  origin: string;
  projectName: string;
  /** Used when the file has no stages. */
  stages: ProjectConfig['stages'] | null;
  /** Used when the file does not speak of parameters. */
  params: ProjectConfig['params'];
}

export function createProjectConfig({ file, origin, projectName, stages, params }: ProjectParts): ProjectConfig {
  const written = file.stages ? createStages(file) : (stages ?? []).map((stage) => withProject(stage, file));
  return {
    project: file.project ?? projectName,
    origin,
    python: file.python ?? null,
    requirements: optionalPath(file.requirements),
    image: file.image ?? null,
    dockerfile: optionalPath(file.dockerfile),
    params: file.params === undefined ? params : createParams(file.params),
    seed: file.seed ?? null,
    env: file.env ?? {},
    secrets: [...new Set([...secretNames(file.secrets), ...written.flatMap((stage) => stage.secrets)])],
    secretFiles: secretFiles(file),
    network: file.network ?? 'open',
    data: createData(file),
    stages: written,
    models: createModels(file),
    metrics: { files: (file.metrics?.files ?? []).map(plainPath), declare: createDeclarations(file) },
    gate: file.gate ?? [],
    promote: file.promote ?? 'by-hand',
    triggers: {
      push: file.triggers?.push ?? [],
      paths: (file.triggers?.paths ?? []).map(plainPath),
      schedule: createSchedule(file.triggers?.schedule),
    },
    verify: {
      predictions: optionalPath(file.verify?.predictions),
      key: file.verify?.key ?? null,
      ignore: file.verify?.ignore ?? [],
    },
    notYet: notYetSentences(file),
  };
}

/** A stage that runs one command under the defaults. */
export function defaultStage(name: string, command: string | string[], env: Record<string, string> = {}): Stage {
  return createStage(name, { command, env }, [], {});
}

function withProject(stage: Stage, file: ProjectFile): Stage {
  return { ...stage, secrets: secretNames(file.secrets), network: file.network ?? stage.network };
}

function createStages(file: ProjectFile): Stage[] {
  const written = file.stages ?? {};
  const needs = needsOf(written);
  return orderStages(needs).flatMap((name) => {
    const stage = written[name];
    return stage ? [createStage(name, stage, [...(needs.get(name) ?? [])], file)] : [];
  });
}

function createStage(name: string, stage: StageFile, needs: string[], file: ProjectFile): Stage {
  return {
    name,
    command: stage.command,
    needs,
    resources: createResources(stage.resources ?? {}),
    pool: stage.pool ?? null,
    timeoutMs: parseDuration(stage.timeout ?? timeoutDefault) ?? 0,
    graceMs: parseDuration(stage.grace ?? graceDefault) ?? 0,
    retries: stage.retries ?? 0,
    outputs: (stage.outputs ?? []).map(outputPath),
    checkpoints: optionalPath(stage.checkpoints),
    code: stage.code?.map(plainPath) ?? null,
    params: stage.params ?? null,
    env: stage.env ?? {},
    secrets: stage.secrets ? secretNames(stage.secrets) : secretNames(file.secrets),
    network: stage.network ?? file.network ?? 'open',
    cache: stage.cache ?? true,
    deterministic: stage.deterministic ?? false,
  };
}

function createResources(resources: NonNullable<StageFile['resources']>): Resources {
  const { accelerators, cpus, memory, nodes } = resources;
  return {
    accelerators: accelerators === undefined ? null : (parseAccelerators(accelerators) ?? null),
    cpus: cpus === undefined ? null : parseCpus(cpus),
    memoryGib: memory === undefined ? null : parseMemoryGib(memory),
    nodes: nodes ?? 1,
  };
}

function createParams(params: NonNullable<ProjectFile['params']>): ProjectConfig['params'] {
  if (typeof params === 'string') return { file: plainPath(params), style: 'json', defaults: null };
  return {
    file: optionalPath(params.file),
    style: params.style ?? (params.file === undefined && params.defaults ? 'argv' : 'json'),
    defaults: params.defaults ?? null,
  };
}

function createData(file: ProjectFile): DataSource[] {
  return Object.entries(file.data ?? {}).map(([name, source]) => {
    const to = plainPath(source.to);
    return 'query' in source
      ? { kind: 'query', name, query: plainPath(source.query), to, format: to.split('.').at(-1) as DataFormat }
      : { kind: 'dataset', name, dataset: source.dataset, to };
  });
}

function createModels(file: ProjectFile): ModelDeclaration[] {
  const models = file.model === undefined ? [] : Array.isArray(file.model) ? file.model : [file.model];
  return models.map(({ name, path }) => ({ name, path: outputPath(path) }));
}

function createDeclarations(file: ProjectFile): Record<string, MetricDeclaration> {
  const entries = Object.entries(file.metrics?.declare ?? {}).map(([key, { goal, from, use, tolerance }]) => [
    key,
    { goal: goal ?? null, from: from ?? null, use: use ?? 'last', tolerance: tolerance ?? null },
  ]);
  return Object.fromEntries(entries) as Record<string, MetricDeclaration>;
}

function createSchedule(written: NonNullable<ProjectFile['triggers']>['schedule']): ScheduleDeclaration | null {
  if (written === undefined) return null;
  const { cron, timezone, overlap, catchup, branch } = typeof written === 'string' ? { cron: written } : written;
  const seconds = catchup === undefined ? null : Math.floor((parseDuration(catchup) ?? 0) / 1000);
  return {
    cron,
    timezone: timezone ?? defaultTimeZone,
    overlap: overlap ?? defaultOverlap,
    catchUpSeconds: seconds ?? catchUpSeconds.default,
    branch: branch ?? null,
  };
}

type Secrets = ProjectFile['secrets'];

function secretNames(secrets: Secrets): string[] {
  return (secrets ?? []).map((secret) => (typeof secret === 'string' ? secret : secret.name));
}

function secretFiles(file: ProjectFile): string[] {
  const all = [...(file.secrets ?? []), ...Object.values(file.stages ?? {}).flatMap((stage) => stage.secrets ?? [])];
  return [
    ...new Set(all.flatMap((secret) => (typeof secret === 'object' && secret.as === 'file' ? [secret.name] : []))),
  ];
}

function optionalPath(path: string | undefined): string | null {
  return path === undefined ? null : plainPath(path);
}

// The trailing slash of a folder is kept: it says what is meant before the folder exists.
function outputPath(path: string): string {
  return plainPath(path) + (path.endsWith('/') ? '/' : '');
}
