// Stages that a person names, checked against those the project has.
import { DomainError } from './errors.ts';
import { didYouMean } from './nearest.ts';
import type { Stage } from './project.ts';

/** @throws invalid-request with what was found at `path` and the stages there are. */
export function requireStages(names: readonly string[], stages: readonly Pick<Stage, 'name'>[], path: string): void {
  const known = stages.map(({ name }) => name);
  const unknown = names.find((name) => !known.includes(name));
  if (unknown === undefined) return;
  const message = `found "${unknown}", expected a stage of the project: ${known.join(', ')}.${didYouMean(unknown, known)}`;
  throw new DomainError('invalid-request', `${path}: ${message}`, [{ path, message }]);
}
