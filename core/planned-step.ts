// What a resumed run would do with a step, and why, in one sentence.
import { joinClauses } from './step-difference.ts';

export interface PlannedStep {
  name: string;
  kind: 'platform' | 'stage';
  action: 'reuse' | 'run';
  /** Label of the run whose result answers the step; null when it will run. */
  reusedFrom: string | null;
  /** Why it will run, as clauses that fit behind "because". */
  because: string[];
  /** What would have to come about for the step to be reused all the same, as clauses that fit behind "unless". */
  unless: string[];
}

export function plannedSentence({ action, reusedFrom, because, unless }: PlannedStep): string {
  if (action === 'reuse') return `reused from ${reusedFrom}`;
  const condition = unless.length === 0 ? '' : ` (unless ${joinClauses(unless)})`;
  return `will run, because ${joinClauses(because)}${condition}`;
}
