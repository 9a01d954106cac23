/** One thing wrong with, or worth knowing about, a project file. Lines and columns count from 1. */
export interface ProjectProblem {
  file: string;
  line: number;
  column: number;
  /** Dotted, for example `stages.train.timeout`; empty for the file as a whole. */
  key: string;
  found: string;
  expected: string;
  /** The whole sentence, with key, found and expected. */
  message: string;
}

export interface ProjectConcern {
  path: readonly PropertyKey[];
  found: string;
  expected: string;
  /** Appended to the sentence, for example `Did you mean "timeout"?`. */
  hint?: string;
  /** Whether the key itself is wrong, not its value. */
  atKey?: boolean;
}

/** `assay.yaml:7:5 stages.train.timout: found …, expected …`, one line per problem. */
export function formatProblem(problem: ProjectProblem): string {
  return `${problem.file}:${problem.line}:${problem.column} ${problem.message}`;
}

export function problemSentence(key: string, concern: Omit<ProjectConcern, 'path'>): string {
  const subject = key === '' ? '' : `${key}: `;
  const hint = concern.hint ? ` ${concern.hint.trim()}` : '';
  return `${subject}found ${concern.found}; expected ${concern.expected}.${hint}`;
}

/** A value as an error message shows it: short, on one line. */
export function shown(value: unknown): string {
  if (value === undefined || value === null) return 'nothing';
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : `a list of ${value.length}`;
  if (typeof value === 'object') return 'a map';
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value as number | boolean);
  return text.length > 80 ? `${text.slice(0, 77)}…` : text;
}
