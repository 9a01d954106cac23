// What the pushed commit's own project file says about pushes. The rest of the file is not judged here: a run that it
// spoils says so itself, where people look for it.
import { z } from 'zod';
import { DomainError } from '#core/errors.ts';
import type { PushTriggers } from '#core/push.ts';
import { plainPath } from './project-checks.ts';
import { formatProblem, type ProjectProblem } from './project-problem.ts';
import { pushTriggers } from './project-schema.ts';
import { schemaConcerns } from './schema-concerns.ts';
import { readYaml } from './yaml-source.ts';

const fileSchema = z.object({
  triggers: z.object(pushTriggers, { error: 'a map with push, paths or schedule' }).partial().optional(),
});

/** Without a project file the default branch starts runs. @throws invalid-project-file */
export function readPushTriggers(text: string | null, defaultBranch: string): PushTriggers {
  if (text === null) return { push: [defaultBranch], paths: [] };
  const source = readYaml(text, 'assay.yaml', () => false);
  if ('problems' in source) throw invalid(source.problems);
  const parsed = fileSchema.safeParse(source.value);
  if (!parsed.success) throw invalid(schemaConcerns(fileSchema, source.value).map((concern) => source.locate(concern)));
  const { push = [], paths = [] } = parsed.data.triggers ?? {};
  return { push, paths: paths.map(plainPath) };
}

function invalid(problems: readonly ProjectProblem[]): DomainError {
  return new DomainError('invalid-project-file', problems.map(formatProblem).join(' ').slice(0, 1000));
}
