// What a step's key is made of, in words, and why the step ran or did not.
import type { Json } from './canonical.ts';
import { flattenParams } from './params.ts';
import type { Params } from './project.ts';
import type { StepStatus } from './run.ts';
import type { EnvironmentIngredients, KeyedStep, LoadDataIngredients, StageIngredients } from './step-key.ts';

/** One ingredient: its name and what it says, one line each. */
export interface IngredientWords {
  part: string;
  lines: string[];
}

/** `codeFiles` is how many files the code's digest covers; null when the commit is not here to be counted. */
export function describeIngredients(
  step: KeyedStep,
  ingredients: Readonly<Record<string, unknown>>,
  codeFiles: number | null,
): IngredientWords[] {
  switch (step) {
    case 'build-environment':
      return environmentWords(ingredients as unknown as EnvironmentIngredients);
    case 'load-data':
      return dataWords(ingredients as unknown as LoadDataIngredients);
    case 'stage':
      return stageWords(ingredients as unknown as StageIngredients, codeFiles);
  }
}

export function keyedStepOf(name: string, kind: 'platform' | 'stage'): KeyedStep | null {
  if (kind === 'stage') return 'stage';
  return name === 'build-environment' || name === 'load-data' ? name : null;
}

function environmentWords({ lockSha256, python, base, platform }: EnvironmentIngredients): IngredientWords[] {
  return [
    words('lock', lockSha256 === null ? 'none' : digest(lockSha256)),
    words('Python', python),
    words('base image', base === null ? 'none: stages run as processes' : base),
    words('platform', platform),
  ];
}

function dataWords({ sources }: LoadDataIngredients): IngredientWords[] {
  return sources.map((source) => {
    if (source.kind === 'dataset') {
      return words(`data ${source.name}`, `dataset ${source.dataset} ${digest(source.digest)}, at ${source.to}`);
    }
    const { query, params, segments, engineVersion, asOf, to, format } = source;
    const named = flattenParams(params).map(([name, value]) => `${name} = ${shown(value)}`);
    return words(
      `data ${source.name}`,
      `query ${query.trim().replaceAll(/\s+/g, ' ')}`,
      ...(named.length === 0 ? [] : [`with ${named.join(', ')}`]),
      `over ${segments.map(({ table, sha256 }) => `${table} (${counted(sha256.length, 'segment')})`).join(', ') || 'no table'}`,
      `as ${format} at ${to}, by DuckDB ${engineVersion}${asOf === null ? '' : `, as of ${asOf}`}`,
    );
  });
}

function stageWords(stage: StageIngredients, codeFiles: number | null): IngredientWords[] {
  const { command, runner, accelerators } = stage;
  const files = codeFiles === null ? '' : `, ${counted(codeFiles, 'file')}`;
  const upstream = Map.groupBy(stage.upstream, (file) => file.stage);
  return [
    words('project', stage.project),
    words('code', `${digest(stage.codeDigest)}${files}`),
    words('command', typeof command === 'string' ? command : command.map((word) => shown(word)).join(' ')),
    words('parameters', ...flattenParams(stage.params).map(([name, value]) => `${name} = ${shown(value)}`)),
    words('passed as', stage.paramStyle),
    words('environment', stage.environmentKey === null ? 'none' : digest(stage.environmentKey)),
    words(
      'runner',
      runner.kind === 'docker'
        ? `container of ${runner.imageDigest}`
        : `process on ${runner.platform}, ${runner.libc}, Python ${runner.pythonBuild}`,
    ),
    words('data', ...stage.data.map(({ name, to, digest: of }) => `${name} at ${to} ${digest(of)}`)),
    words('files before', ...[...upstream].map(([name, made]) => `${name}: ${counted(made.length, 'file')}`)),
    ...(stage.initFrom ? [words('starts from', `checkpoints ${digest(stage.initFrom)}`)] : []),
    words('seed', String(stage.seed)),
    words('variables', ...Object.keys(stage.env)),
    words('secrets', ...stage.secrets.map(({ name, version }) => `${name} version ${version}`)),
    words('CPUs', stage.cpus === null ? "the node's own" : String(stage.cpus)),
    words('threads', String(stage.threads)),
    words('accelerators', accelerators === null ? 'none' : `${accelerators.count} x ${accelerators.type}`),
    words('network', stage.network),
    words('outputs', ...(stage.outputs.length === 0 ? ['all files that changed'] : stage.outputs)),
    words('deterministic', stage.deterministic ? 'yes' : 'no'),
  ];
}

function words(part: string, ...lines: string[]): IngredientWords {
  return { part, lines: lines.length === 0 ? ['none'] : lines };
}

function digest(sha256: string): string {
  return sha256.slice(0, 12);
}

function shown(value: Json | Params[string]): string {
  return typeof value === 'string' && /^[\w./:@%+=,-]+$/.test(value) ? value : JSON.stringify(value);
}

function counted(count: number, noun: string): string {
  return `${count} ${count === 1 ? noun : `${noun}s`}`;
}

export interface StepFate {
  status: StepStatus;
  reason: string | null;
  reusedFrom: string | null;
  kind: 'platform' | 'stage';
  /** What the stage and the run say about reuse. */
  cache: boolean;
  reuse: boolean;
  isReproduction: boolean;
  isRerun: boolean;
  stepKey: string | null;
}

/** What happened to the step and, if it ran, why no earlier result answered it. */
export function fateSentence(fate: StepFate): string {
  const { status, reason, reusedFrom, stepKey } = fate;
  switch (status) {
    case 'reused':
      return reusedFrom === null
        ? 'Nothing had to be made: what it makes was there.'
        : `Reused from ${reusedFrom}: the key is equal.`;
    case 'succeeded':
      return fate.kind === 'platform' ? 'Made what was not there yet.' : `Ran, because ${whyRun(fate)}.`;
    case 'failed':
      return `Failed${stepKey === null ? '' : ', so its key has no result'}.`;
    case 'cancelled':
      return 'Was cancelled, so its key has no result.';
    case 'skipped':
      return `Was skipped${reason === null ? '' : `: ${reason}`}.`;
    case 'pending':
      return 'Has no key yet: it is known once the steps it needs have ended.';
    case 'waiting':
      return `Waits${reason === null ? '' : `: ${reason}`}.`;
    case 'running':
      return fate.kind === 'platform' ? 'Runs.' : `Runs, because ${whyRun(fate)}.`;
  }
}

function whyRun({ cache, reuse, isReproduction, isRerun }: StepFate): string {
  if (isReproduction) return 'a reproduction takes no results';
  if (!cache) return 'the stage says cache: false';
  if (isRerun) return 'it was asked to run again';
  if (!reuse) return 'the run was submitted with --no-reuse';
  return 'no earlier result had this key';
}
