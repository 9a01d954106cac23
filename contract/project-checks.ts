// What a project file must fulfil beyond the shape of each key: names that exist, orders that end, paths that do not clash.
import { isGateRule, parseGateRule } from '#core/gate-rule.ts';
import { didYouMean } from '#core/nearest.ts';
import { stagesMax } from '#core/plan.ts';
import { platformSteps } from '#core/run.ts';
import type { ProjectConcern } from './project-problem.ts';
import type { ProjectFile } from './project-schema.ts';
import { cycleIn, needsOf } from './stage-order.ts';

/** `stageNames` are all that the text has, also those whose rest is wrong. `files` are the commit's paths, if known. */
export interface ProjectFacts {
  stageNames: readonly string[];
  files: readonly string[] | null;
}

export function projectConcerns(file: ProjectFile, facts: ProjectFacts): ProjectConcern[] {
  return [
    ...stageConcerns(file, facts.stageNames),
    ...orderConcerns(file),
    ...outputConcerns(file),
    ...dataConcerns(file),
    ...metricConcerns(file, facts.stageNames),
    ...gateConcerns(file),
    ...environmentConcerns(file),
    ...modelConcerns(file),
    ...(facts.files ? fileConcerns(file, facts.files) : []),
  ];
}

/** Not wrong, but probably not meant. */
export function projectWarnings(file: ProjectFile): ProjectConcern[] {
  const stages = Object.entries(file.stages ?? {});
  const isOpen = stages.length === 0 || stages.some(([, stage]) => (stage.outputs ?? []).length === 0);
  if (isOpen) return [];
  const outputs = stages.flatMap(([, stage]) => stage.outputs ?? []);
  return modelsOf(file).flatMap(({ model, path }) => {
    const covered = outputs.some((output) => covers(output, model.path) || covers(model.path, output));
    if (covered) return [];
    const expected = `a path below the outputs of a stage (${outputs.join(', ')}), or the stage that writes it to name it`;
    return [{ path: [...path, 'path'], found: JSON.stringify(model.path), expected }];
  });
}

function stageConcerns(file: ProjectFile, stageNames: readonly string[]): ProjectConcern[] {
  const entries = Object.entries(file.stages ?? {});
  const tooMany =
    stageNames.length > stagesMax
      ? [{ path: ['stages'], found: `${stageNames.length} stages`, expected: `at most ${stagesMax}` }]
      : [];
  const none =
    file.stages && stageNames.length === 0
      ? [{ path: ['stages'], found: 'no stage', expected: 'at least one, such as train: { command: python train.py }' }]
      : [];
  const reserved = stageNames.filter((name) => (platformSteps as readonly string[]).includes(name)).map(reservedName);
  const needs = entries.flatMap(([name, stage]) => needConcerns(name, stage.needs ?? [], stageNames));
  return [...tooMany, ...none, ...reserved, ...needs];
}

function reservedName(name: string): ProjectConcern {
  const expected = `another name, because Assay's own steps are ${platformSteps.join(', ')}`;
  return { path: ['stages', name], atKey: true, found: `the stage name "${name}"`, expected };
}

function needConcerns(name: string, needs: readonly string[], stageNames: readonly string[]): ProjectConcern[] {
  return needs.flatMap((need, index): ProjectConcern[] => {
    const path = ['stages', name, 'needs', index];
    const found = JSON.stringify(need);
    if (need === name) return [{ path, found, expected: 'another stage; a stage cannot need itself' }];
    if (needs.indexOf(need) < index) return [{ path, found: `${found} a second time`, expected: 'each stage once' }];
    if (stageNames.includes(need)) return [];
    const others = stageNames.filter((other) => other !== name);
    const expected = others.length === 0 ? 'no needs, because there is no other stage' : `one of ${others.join(', ')}`;
    return [{ path, found, expected, hint: didYouMean(need, others) }];
  });
}

function orderConcerns(file: ProjectFile): ProjectConcern[] {
  const cycle = cycleIn(needsOf(file.stages ?? {}));
  if (cycle === null || cycle.length < 3) return [];
  const [first = ''] = cycle;
  return [
    { path: ['stages', first, 'needs'], found: `the circle ${cycle.join(' → ')}`, expected: 'an order that ends' },
  ];
}

function outputConcerns(file: ProjectFile): ProjectConcern[] {
  const owners = new Map<string, string>();
  const concerns: ProjectConcern[] = [];
  for (const [name, stage] of Object.entries(file.stages ?? {})) {
    for (const [index, output] of (stage.outputs ?? []).entries()) {
      const owner = owners.get(plainPath(output));
      owners.set(plainPath(output), owner ?? name);
      if (owner === undefined || owner === name) continue;
      const found = `${JSON.stringify(output)}, which ${owner} writes too`;
      concerns.push({ path: ['stages', name, 'outputs', index], found, expected: 'each path from one stage' });
    }
  }
  return concerns;
}

function dataConcerns(file: ProjectFile): ProjectConcern[] {
  const entries = Object.entries(file.data ?? {});
  return entries.flatMap(([name, source], index) => {
    const before = entries
      .slice(0, index)
      .find(([, other]) => covers(other.to, source.to) || covers(source.to, other.to));
    if (!before) return [];
    const found = `${JSON.stringify(source.to)}, which overlaps with ${before[0]}`;
    return [{ path: ['data', name, 'to'], found, expected: 'a place of its own for each' }];
  });
}

function metricConcerns(file: ProjectFile, stageNames: readonly string[]): ProjectConcern[] {
  return Object.entries(file.metrics?.declare ?? {}).flatMap(([key, declaration]): ProjectConcern[] => {
    const path = ['metrics', 'declare', key];
    const { from, use, goal } = declaration;
    const unknownStage = from !== undefined && stageNames.length > 0 && !stageNames.includes(from);
    const expected = `one of ${stageNames.join(', ')}`;
    const noGoal = use === 'best' && goal === undefined;
    return [
      ...(unknownStage
        ? [{ path: [...path, 'from'], found: JSON.stringify(from), expected, hint: didYouMean(from, stageNames) }]
        : []),
      ...(noGoal
        ? [{ path: [...path, 'use'], found: '"best" without a goal', expected: 'goal: max or goal: min beside it' }]
        : []),
    ];
  });
}

function gateConcerns(file: ProjectFile): ProjectConcern[] {
  const rules = (file.gate ?? []).flatMap((rule, index): ProjectConcern[] => {
    const parsed = parseGateRule(rule);
    if (isGateRule(parsed)) return [];
    const found = `${parsed.found} at character ${parsed.position + 1} of ${JSON.stringify(rule)}`;
    return [{ path: ['gate', index], found, expected: parsed.expected }];
  });
  const promotes = file.promote === 'when-passed';
  const noModel = promotes && file.model === undefined;
  const noGate = promotes && (file.gate ?? []).length === 0;
  return [
    ...rules,
    ...(noModel ? [{ path: ['promote'], found: 'when-passed without a model', expected: 'a model to promote' }] : []),
    ...(noGate
      ? [{ path: ['promote'], found: 'when-passed without a gate', expected: 'rules under gate that can pass' }]
      : []),
  ];
}

function environmentConcerns(file: ProjectFile): ProjectConcern[] {
  const stages = Object.entries(file.stages ?? {}).map(([name, stage]) => ({ path: ['stages', name], env: stage.env }));
  const reserved = [{ path: [] as string[], env: file.env }, ...stages].flatMap(({ path, env }) =>
    Object.keys(env ?? {})
      .filter((name) => name.startsWith('ASSAY_'))
      .map((name) => ({
        path: [...path, 'env', name],
        atKey: true,
        found: `the variable ${name}`,
        expected: 'a name that does not begin with ASSAY_, because Assay sets those',
      })),
  );
  const both = file.image !== undefined && file.dockerfile !== undefined;
  return [
    ...reserved,
    ...(both ? [{ path: ['dockerfile'], found: 'both image and dockerfile', expected: 'one of them' }] : []),
  ];
}

function modelConcerns(file: ProjectFile): ProjectConcern[] {
  const models = modelsOf(file);
  return models.flatMap(({ model, path }, index) => {
    const isSecond = models.slice(0, index).some((other) => other.model.name === model.name);
    return isSecond
      ? [{ path: [...path, 'name'], found: `${model.name} a second time`, expected: 'each model once' }]
      : [];
  });
}

/** Files that the project file names and the commit must have. */
function fileConcerns(file: ProjectFile, files: readonly string[]): ProjectConcern[] {
  const paramsFile = typeof file.params === 'string' ? file.params : file.params?.file;
  const queries = Object.entries(file.data ?? {}).map(([name, source]): [PropertyKey[], string | undefined] => [
    ['data', name, 'query'],
    'query' in source ? source.query : undefined,
  ]);
  const named: [PropertyKey[], string | undefined][] = [
    [['requirements'], file.requirements],
    [['dockerfile'], file.dockerfile],
    [typeof file.params === 'string' ? ['params'] : ['params', 'file'], paramsFile],
    ...queries,
  ];
  const known = new Set(files);
  return named.flatMap(([path, name]) => {
    if (name === undefined || known.has(plainPath(name))) return [];
    const hint = didYouMean(name, files);
    return [
      { path, found: `${JSON.stringify(name)}, which the commit does not have`, expected: 'a committed file', hint },
    ];
  });
}

function modelsOf(file: ProjectFile): { model: { name: string; path: string }; path: PropertyKey[] }[] {
  if (file.model === undefined) return [];
  if (!Array.isArray(file.model)) return [{ model: file.model, path: ['model'] }];
  return file.model.map((model, index) => ({ model, path: ['model', index] }));
}

function covers(folder: string, path: string): boolean {
  const [outer, inner] = [plainPath(folder), plainPath(path)];
  return outer === inner || inner.startsWith(`${outer}/`);
}

/** Without `./` in front and slashes at the end. */
export function plainPath(path: string): string {
  return path.replaceAll(/(?:^|\/)(?:\.\/)+/g, (dots) => (dots.startsWith('/') ? '/' : '')).replace(/\/+$/, '');
}
