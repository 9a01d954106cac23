// `name=value` as people type it on a command line.
import { type Overrides, parseOverride } from '#core/params.ts';

const assignment = /^[A-Za-z_~+][\w.+-]*=/;

/** Collects a repeated option; commander calls it once per use. */
export function collect(value: string, before: string[] | undefined): string[] {
  return [...(before ?? []), value];
}

/** A later use of a name wins. Throws `invalid-parameters` for a word without a name and a value. */
export function parseAssignments(words: readonly string[]): Overrides {
  return Object.fromEntries(words.map(parseOverride).map(({ name, value }) => [name, value]));
}

/** Whether all words are assignments, as in `assay run -- lr=0.1`; then they are parameters and no command. */
export function areAssignments(words: readonly string[]): boolean {
  return words.length > 0 && words.every((word) => assignment.test(word));
}
