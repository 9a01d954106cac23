// assay.yaml: text → configuration, or everything that is wrong with it at once.
import type { ProjectConfig } from '#core/project.ts';
import { didYouMean } from '#core/nearest.ts';
import { createProjectConfig } from './project-config.ts';
import { projectConcerns, projectWarnings } from './project-checks.ts';
import type { ProjectConcern, ProjectProblem } from './project-problem.ts';
import { projectFileSchema, type ProjectFile } from './project-schema.ts';
import { schemaConcerns, validPart, valueAt } from './schema-concerns.ts';
import { readYaml } from './yaml-source.ts';

/** What is known around the file. Without it, nothing outside the text is checked and nothing is detected. */
export interface ProjectFileContext {
  /** Used when the file has no `project`. */
  projectName?: string | null;
  /** Paths of the commit; null leaves unchecked whether a named file exists. */
  files?: readonly string[] | null;
  /** What was or will be detected for what the file leaves out; null makes missing stages a problem. */
  detected?: Pick<ProjectConfig, 'stages' | 'params'> | null;
}

export type ProjectFileReading =
  | {
      config: ProjectConfig;
      warnings: ProjectProblem[];
      /** What the file does not speak of, and detection may therefore fill in. */
      leavesOut: ('stages' | 'params')[];
    }
  | { problems: ProjectProblem[] };

export function readProjectFile(
  text: string,
  fileName = 'assay.yaml',
  context: ProjectFileContext = {},
): ProjectFileReading {
  const source = readYaml(text, fileName, isTextKey);
  if ('problems' in source) return source;
  const shape = schemaConcerns(projectFileSchema, source.value);
  const file = validPart(projectFileSchema, source.value) ?? {};
  const stageNames = Object.keys((valueAt(source.value, ['stages']) as object | undefined) ?? {});
  const concerns = [
    ...shape,
    ...projectConcerns(file, { stageNames, files: context.files ?? null }),
    ...(shape.length === 0 ? missingParts(file, context) : []),
  ];
  if (concerns.length > 0)
    return {
      problems: concerns
        .slice(0, problemsMax)
        .map((concern) => source.locate(concern))
        .sort(byPlace),
    };
  return {
    config: createProjectConfig({
      file,
      origin: fileName,
      projectName: context.projectName ?? '',
      stages: context.detected?.stages ?? null,
      params: context.detected?.params ?? { file: null, style: 'json', defaults: null },
    }),
    warnings: projectWarnings(file).map((concern) => source.locate(concern)),
    leavesOut: (['stages', 'params'] as const).filter((key) => file[key] === undefined),
  };
}

const problemsMax = 100;

// `python: 3.10` and `env: { DEBUG: 0 }` are texts, whatever YAML makes of them.
function isTextKey(path: readonly string[]): boolean {
  return (path.length === 1 && path[0] === 'python') || path.at(-2) === 'env';
}

function missingParts(file: ProjectFile, context: ProjectFileContext): ProjectConcern[] {
  const noName = file.project === undefined && !context.projectName;
  const noStage = file.stages === undefined && !context.detected;
  return [
    ...(noName ? [{ path: ['project'], found: 'nothing', expected: 'the name of the project' }] : []),
    ...(noStage
      ? [
          {
            path: ['stages'],
            found: 'nothing',
            expected: 'at least one stage, such as train: { command: python train.py }',
          },
        ]
      : []),
  ];
}

function byPlace(a: ProjectProblem, b: ProjectProblem): number {
  return a.line - b.line || a.column - b.column;
}

/** Whether a file at the root is meant to be the project file under a wrong name, for example assay.yml. */
export function misnamedProjectFile(files: readonly string[]): string | null {
  if (files.includes('assay.yaml')) return null;
  return (
    files.find((file) => !file.includes('/') && /\.ya?ml$/.test(file) && didYouMean(file, ['assay.yaml']) !== '') ??
    null
  );
}
