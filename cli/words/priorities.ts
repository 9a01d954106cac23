import { InvalidArgumentError } from 'commander';
import { priorities, type Priority } from '#core/priority.ts';

/** For commander. */
export function parsePriority(text: string): Priority {
  const priority = priorities.find((known) => String(known) === text);
  if (priority !== undefined) return priority;
  throw new InvalidArgumentError('Expected 1, which is served first, to 5.');
}
