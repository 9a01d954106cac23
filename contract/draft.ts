// A first assay.yaml from what lies in a repository; people delete and change, so it is short and says why.
import { projectNameFrom } from '#core/names.ts';
import type { ParamsDeclaration } from '#core/project.ts';
import { parse as parseToml } from 'smol-toml';
import { stringify } from 'yaml';
import { z } from 'zod';
import { declaredFlags, detectParams } from './detect-params.ts';
import { readDvc } from './dvc.ts';
import { findEntryPoint, scripts } from './entry-point.ts';
import { requirementLines } from './draft-requirements.ts';
import { mainEntryPoint, readMlProject } from './mlproject.ts';
import type { Repository } from './repository.ts';

interface DraftStage {
  command: string;
  needs?: string[];
  outputs?: string[];
  env?: Record<string, string>;
}

interface Draft {
  /** Where the stages come from, and what has to be done by hand. */
  notes: string[];
  stages: Record<string, DraftStage>;
  params: ParamsDeclaration;
  metricsFiles: string[];
  /** Where something says that the model lies. */
  modelPath?: string | null;
  /** Text of the script whose habits decide about model and metrics. */
  script: string | null;
}

/** Never refuses: with nothing to go by, the command is left to the reader. The text is valid as it is. */
export async function draftProjectFile(repository: Repository, projectName: string): Promise<string> {
  const name = projectNameFrom(projectName) ?? 'project';
  const draft =
    (await draftFromDvc(repository)) ??
    (await draftFromMlProject(repository)) ??
    (await draftFromScripts(repository)) ??
    (await draftFromPackage(repository)) ??
    (await draftFromNothing(repository));
  return [
    '# What Assay does with this repository. Everything here is optional but the command of a stage.',
    ...draft.notes.map((note) => `# ${note}`),
    '',
    block({ project: name }),
    ...requirementLines(repository),
    ...paramLines(draft),
    block({ stages: draft.stages }),
    '    # resources: { cpus: 4, memory: 16, accelerators: gpu:1 }',
    '    # timeout: 2h',
    '',
    ...modelLines(name, draft),
    ...metricLines(draft),
    '# Rules that a run must hold before its model can be promoted; champion is the version in production.',
    '# gate: ["accuracy >= 0.9", "accuracy >= champion - 0.005"]',
    '',
  ].join('\n');
}

async function draftFromDvc(repository: Repository): Promise<Draft | null> {
  const text = await repository.read('dvc.yaml');
  const dvc = text === null ? null : readDvc(text);
  if (dvc === null || Object.keys(dvc.stages).length === 0) return null;
  const absent = dvc.inputs.filter((path) => !repository.files.some((file) => isIn(file, path)));
  const notes = ['The stages come from dvc.yaml.', ...dvc.notes, ...absent.map(absentNote)];
  return {
    notes,
    stages: dvc.stages,
    params: detectParams(repository, null),
    metricsFiles: dvc.metricsFiles,
    modelPath: dvc.modelPath,
    script: null,
  };
}

function isIn(file: string, path: string): boolean {
  return file === path || file.startsWith(`${path}/`);
}

function absentNote(path: string): string {
  return `${path} is in no commit, so a run does not have it: put it into the lake (assay data add) and name it under data.`;
}

async function draftFromMlProject(repository: Repository): Promise<Draft | null> {
  const text = await repository.read('MLproject');
  if (text === null) return null;
  try {
    const { command, defaults } = mainEntryPoint(readMlProject(text));
    const params: ParamsDeclaration = { file: null, style: 'template', defaults };
    return {
      notes: ['The command comes from MLproject.'],
      stages: { main: { command } },
      params,
      metricsFiles: [],
      script: null,
    };
  } catch {
    return null;
  }
}

async function draftFromScripts(repository: Repository): Promise<Draft | null> {
  const entry = await findEntryPoint(repository).catch(() => null);
  if (entry === null) return null;
  const script = await repository.read(entry.script);
  const env = Object.keys(entry.env).length > 0 ? { env: entry.env } : {};
  const before = ['prepare.py', 'preprocess.py'].filter((file) => repository.files.includes(file));
  const after = ['evaluate.py', 'eval.py'].filter((file) => repository.files.includes(file)).slice(0, 1);
  const beside = entry.script.includes('/') ? [] : [...before.slice(0, 1), entry.script, ...after];
  const stages =
    beside.length > 1
      ? Object.fromEntries(beside.map((file) => [file.replace(/\.py$/, ''), { command: `python ${file}` }]))
      : { train: { command: entry.command.join(' '), ...env } };
  const notes = [`The command comes from ${entry.script}.`];
  return { notes, stages, params: withFlags(detectParams(repository, script), script), metricsFiles: [], script };
}

const packageFile = z.looseObject({
  project: z.looseObject({ scripts: z.record(z.string(), z.string()).optional() }).optional(),
});

async function draftFromPackage(repository: Repository): Promise<Draft | null> {
  const found = packageScripts(await repository.read('pyproject.toml'));
  const [name, target] = found.find(([script]) => /train/.test(script)) ?? found[0] ?? [];
  if (name === undefined || target === undefined) return null;
  const [module = '', callable = 'main'] = target.split(':');
  const path = [`src/${module.replaceAll('.', '/')}.py`, `${module.replaceAll('.', '/')}.py`].find((file) =>
    repository.files.includes(file),
  );
  const script = path === undefined ? null : await repository.read(path);
  const env = path?.startsWith('src/') ? { env: { PYTHONPATH: 'src' } } : {};
  const command = `python -c "import sys; from ${module} import ${callable.split('.')[0]}; sys.exit(${callable}())"`;
  const notes = [`The command is the script ${name} of pyproject.toml.`];
  const params = withFlags(detectParams(repository, script), script);
  return { notes, stages: { train: { command, ...env } }, params, metricsFiles: [], script };
}

function packageScripts(text: string | null): [string, string][] {
  if (text === null) return [];
  try {
    return Object.entries(packageFile.parse(parseToml(text)).project?.scripts ?? {});
  } catch {
    return [];
  }
}

async function draftFromNothing(repository: Repository): Promise<Draft> {
  const [first] = await scripts(repository);
  const notes =
    first === undefined
      ? ['No script was found: say below what to run.']
      : [`Nothing says what to run; ${first} is a guess.`];
  const script = first === undefined ? null : await repository.read(first);
  const params = withFlags(detectParams(repository, script), script);
  return { notes, stages: { train: { command: `python ${first ?? 'train.py'}` } }, params, metricsFiles: [], script };
}

// Flags with their defaults become declared parameters, so that a misspelled one is refused and all are shown on a run.
function withFlags(params: ParamsDeclaration, script: string | null): ParamsDeclaration {
  if (params.style !== 'argv' || script === null) return params;
  const defaults = declaredFlags(script);
  return Object.keys(defaults).length > 0 ? { ...params, defaults } : params;
}

function paramLines({ params }: Draft): string[] {
  const { file, style, defaults } = params;
  if (file === null && style === 'json')
    return ['# params: { file: params.json }      # or style: argv, env, hydra', ''];
  const how = {
    json: `${file} is rewritten with the values of a run; -P NAME=VALUE changes one.`,
    argv: 'Passed as flags: -P lr=0.1 becomes --lr 0.1.',
    env: 'Passed as environment variables.',
    hydra: 'Passed as overrides of Hydra: -P lr=0.1 becomes lr=0.1.',
    template: '{name} in the command is replaced; -P NAME=VALUE changes one.',
  }[style];
  const value = { ...(file === null ? {} : { file }), style, ...(defaults === null ? {} : { defaults }) };
  return [`# ${how}`, block({ params: value }), ''];
}

/** A whole argument only: of `folder / "model.pt"` and `join(folder, "model.pt")` nobody knows the folder. */
const savesModel =
  /(?:joblib\.dump|torch\.save|pickle\.dump|save_model|save_pretrained|\.save|\bopen)\((?:(?:[^\n"'()/+]|\(\))*,)?\s*["']([\w./-]+\.(?:joblib|pkl|pickle|pt|pth|h5|keras|onnx|safetensors)|models?\/?)["']/;

function modelLines(name: string, { script, modelPath }: Draft): string[] {
  const path = modelPath ?? savesModel.exec(script ?? '')?.[1]?.replace(/^\.\//, '');
  const isInside = path !== undefined && !path.startsWith('/') && !path.startsWith('..');
  if (!isInside)
    return [`# model: { name: ${name}, path: model/ }    # what is kept as a version when the gate passes`, ''];
  return ['# Kept as a version when the gate passes.', block({ model: { name, path } }), ''];
}

function metricLines({ script, metricsFiles }: Draft): string[] {
  const files = metricsFiles.length > 0 ? metricsFiles : script?.includes('metrics.json') ? ['metrics.json'] : [];
  if (files.length === 0) return ['# metrics: { files: [metrics.json] }', ''];
  return [block({ metrics: { files } }), ''];
}

function block(value: Record<string, unknown>): string {
  return stringify(value, { lineWidth: 0 }).trimEnd();
}
