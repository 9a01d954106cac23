// An existing MLproject file as fallback configuration. Format: https://mlflow.org/docs/latest/ml/projects/
import { DomainError } from '#core/errors.ts';
import type { Params, ParamValue } from '#core/project.ts';
import { parse } from 'yaml';
import { z } from 'zod';

const scalar = z.union([z.string(), z.number(), z.boolean(), z.null()]);
const parameter = z.union([z.string(), z.looseObject({ type: z.string().optional(), default: scalar.optional() })]);
const entryPoint = z.looseObject({
  command: z.string(),
  parameters: z.record(z.string(), parameter).optional(),
});
const file = z.looseObject({
  name: z.string().optional(),
  entry_points: z.record(z.string(), entryPoint).optional(),
  conda_env: z.string().optional(),
  python_env: z.string().optional(),
  docker_env: z.unknown().optional(),
});

export interface MlProject {
  name: string | null;
  entryPoints: { name: string; command: string; defaults: Params }[];
  /** File with `python:` and `dependencies:`; null when there is none. */
  pythonEnv: string | null;
  condaEnv: string | null;
}

/** Throws `invalid-project-file` when the text is not what MLflow reads. */
export function readMlProject(text: string): MlProject {
  const parsed = file.safeParse(parseYaml(text));
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const where = issue?.path.join('.') || 'the file';
    throw new DomainError('invalid-project-file', `MLproject: ${where} is not what MLflow reads (${issue?.message}).`);
  }
  const { name, entry_points: entryPoints, python_env: pythonEnv, conda_env: condaEnv } = parsed.data;
  return {
    name: name ?? null,
    entryPoints: Object.entries(entryPoints ?? {}).map(([entry, { command, parameters }]) => ({
      name: entry,
      command: command.trim(),
      defaults: defaultsOf(parameters ?? {}),
    })),
    pythonEnv: pythonEnv ?? null,
    condaEnv: condaEnv ?? null,
  };
}

/** `main`, or the only one. Throws `no-entry-point` when neither exists. */
export function mainEntryPoint(project: MlProject): MlProject['entryPoints'][number] {
  const [first, ...others] = project.entryPoints;
  const main = project.entryPoints.find((entry) => entry.name === 'main');
  if (main) return main;
  if (first && others.length === 0) return first;
  const names = project.entryPoints.map((entry) => entry.name).join(', ') || 'none';
  throw new DomainError(
    'no-entry-point',
    `Found the entry points ${names} in MLproject; expected main, or only one. Say what to run: assay run -- COMMAND, or write an assay.yaml with assay init.`,
  );
}

function parseYaml(text: string): unknown {
  try {
    return parse(text, { maxAliasCount: 100 }) as unknown;
  } catch (error) {
    const message = error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error);
    throw new DomainError('invalid-project-file', `MLproject is not valid YAML: ${message}`);
  }
}

// A parameter without a default has to be given; null stands for that.
function defaultsOf(parameters: Record<string, z.output<typeof parameter>>): Params {
  return Object.fromEntries(
    Object.entries(parameters).map(([name, declared]): [string, ParamValue] => [
      name,
      typeof declared === 'string' ? null : (declared.default ?? null),
    ]),
  );
}
