// The stages of a dvc.yaml, as a draft of stages of ours. Format: https://dvc.org/doc/user-guide/project-structure/dvcyaml-files
import { stageNameFrom } from '#core/names.ts';
import { parse } from 'yaml';
import { z } from 'zod';
import { plainPath } from './project-checks.ts';
import { isPathInside } from './project-schema.ts';

/** Paths stand alone or as a map of one path with options. */
const entry = z.union([
  z.string().transform((path) => [path]),
  z.record(z.string(), z.unknown()).transform((map) => Object.keys(map)),
]);
const entries = z.array(entry).transform((list) => list.flat());
const stage = z.looseObject({
  cmd: z.union([z.string(), z.array(z.string()).transform((commands) => commands.join(' && '))]),
  wdir: z.string().optional(),
  deps: entries.optional(),
  outs: entries.optional(),
  metrics: entries.optional(),
  plots: entries.optional(),
});
const artifact = z.looseObject({ path: z.string(), type: z.string().optional() });
const file = z.looseObject({
  stages: z.record(z.string(), z.unknown()),
  metrics: entries.optional().catch(undefined),
  artifacts: z.record(z.string(), artifact).optional().catch(undefined),
});

export interface DvcDraft {
  stages: Record<string, { command: string; needs?: string[]; outputs?: string[] }>;
  metricsFiles: string[];
  /** What `artifacts` calls a model, if one of them is. */
  modelPath: string | null;
  /** Paths that stages read and none writes. */
  inputs: string[];
  /** Sentences about what could not be translated. */
  notes: string[];
}

/** Null when the text is no dvc.yaml with stages. A stage that cannot be translated is left out and noted. */
export function readDvc(text: string): DvcDraft | null {
  const parsed = file.safeParse(parseOrNull(text));
  if (!parsed.success) return null;
  const notes: string[] = [];
  const read = Object.entries(parsed.data.stages).flatMap(([written, value]) => {
    const name = stageNameFrom(written);
    const one = stage.safeParse(value);
    if (name === null || !one.success) {
      notes.push(`The stage ${written} of dvc.yaml has to be written by hand (foreach and matrix have no equivalent).`);
      return [];
    }
    if (/\$\{/.test(one.data.cmd))
      notes.push(`The command of ${name} has \${…} templates of DVC, to be replaced by hand.`);
    return [{ name, ...dvcStage(one.data) }];
  });
  const stages = read.map(({ name, command, deps, outputs }) => {
    const needs = read.filter(
      (other) => other.name !== name && deps.some((dep) => other.outputs.some((out) => isWithin(dep, out))),
    );
    return [
      name,
      { command, needs: needs.map((other) => other.name), ...(outputs.length > 0 ? { outputs } : {}) },
    ] as const;
  });
  const { metrics = [], artifacts = {} } = parsed.data;
  const model = Object.values(artifacts).find(({ type }) => type === 'model');
  const isMade = (path: string) => read.some(({ outputs }) => outputs.some((output) => isWithin(path, output)));
  return {
    stages: Object.fromEntries(stages),
    metricsFiles: [...new Set([...read.flatMap((item) => item.metrics), ...metrics.flatMap(resolved)])],
    modelPath: model === undefined ? null : (resolved(model.path)[0] ?? null),
    inputs: [...new Set(read.flatMap(({ deps }) => deps))].filter((path) => !isMade(path)),
    notes,
  };
}

function dvcStage({ cmd, wdir, deps = [], outs = [], metrics = [], plots = [] }: z.output<typeof stage>) {
  const inFolder = (path: string) => resolved(wdir && wdir !== '.' ? `${wdir}/${path}` : path);
  return {
    command: wdir && wdir !== '.' ? `cd ${wdir} && ${cmd}` : cmd,
    deps: deps.flatMap(inFolder),
    outputs: [...new Set([...outs, ...metrics, ...plots].flatMap(inFolder))],
    metrics: metrics.flatMap(inFolder),
  };
}

/** Nothing for a path outside the repository, which no stage of ours can have. */
function resolved(path: string): string[] {
  const parts: string[] = [];
  for (const part of plainPath(path).split('/')) {
    if (part === '..' && parts.pop() === undefined) return [];
    if (part !== '..') parts.push(part);
  }
  const inside = parts.join('/');
  return isPathInside(inside) ? [inside] : [];
}

function isWithin(path: string, output: string): boolean {
  return path === output || path.startsWith(`${output}/`) || output.startsWith(`${path}/`);
}

function parseOrNull(text: string): unknown {
  try {
    return parse(text, { maxAliasCount: 100 }) as unknown;
  } catch {
    return null;
  }
}
