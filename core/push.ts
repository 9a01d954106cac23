// Pushes: what a git host says happened to a branch, and what about it starts a run.
import { declaredPathMatches, type CompileGlob } from './glob.ts';

/** The APIs of git hosts that are spoken; Forgejo speaks Gitea's. */
export const hostKinds = ['github', 'gitlab', 'gitea'] as const;
export type HostKind = (typeof hostKinds)[number];

/** Who announced a push. `generic` is anyone who signs as the Standard Webhooks specification says. */
export const deliverySources = [...hostKinds, 'generic', 'poll'] as const;
export type DeliverySource = (typeof deliverySources)[number];

/** `accepted` waits until its commit was read; then it is a `run`, or `ignored` with a reason, for ever. */
export const deliveryOutcomes = ['accepted', 'run', 'ignored'] as const;
export type DeliveryOutcome = (typeof deliveryOutcomes)[number];

/** One reference that moved. `before` is null when there was nothing, `after` when there is nothing any more. */
export interface Push {
  /** Full name, such as refs/heads/main. */
  ref: string;
  before: string | null;
  after: string | null;
}

const heads = 'refs/heads/';

/** The branch that a full reference names; null for tags and everything else. */
export function branchOf(ref: string): string | null {
  return ref.startsWith(heads) ? ref.slice(heads.length) : null;
}

/** Why a push needs no look at its commit; null when it does. */
export function ignoredAtOnce(push: Push): string | null {
  if (branchOf(push.ref) === null) return 'Only branches start runs, and this is none.';
  if (push.after === null) return 'The branch was deleted.';
  if (push.after === push.before) return 'The branch did not move.';
  return null;
}

/** What assay.yaml says about pushes. */
export interface PushTriggers {
  /** Branches, or globs of them. */
  push: readonly string[];
  /** Paths, folders or globs of which one must have changed; empty when any change counts. */
  paths: readonly string[];
}

export interface PushFacts {
  branch: string;
  /** The whole message of the head commit. */
  message: string;
  /** Paths that differ from before; null when everything counts as changed, as after a forced push. */
  changed: readonly string[] | null;
}

const skipMark = /\[(?:skip ml|ml skip)\]/i;

/** Null when the push starts a run, else one sentence that says why it does not. */
export function whyNoRun(triggers: PushTriggers, facts: PushFacts, glob: CompileGlob): string | null {
  if (skipMark.test(facts.message)) return 'The commit message says [skip ml].';
  if (triggers.push.length === 0) return 'assay.yaml names no branches under triggers.push.';
  if (!triggers.push.some((pattern) => pattern === facts.branch || glob(pattern)(facts.branch))) {
    return `The branch ${facts.branch} is none of triggers.push: ${triggers.push.join(', ').slice(0, 500)}.`;
  }
  const { changed } = facts;
  if (triggers.paths.length === 0 || changed === null) return null;
  const matches = triggers.paths.map((path) => declaredPathMatches(path, glob));
  if (changed.some((path) => matches.some((match) => match(path)))) return null;
  return `None of the ${changed.length} changed files is in triggers.paths: ${triggers.paths.join(', ').slice(0, 500)}.`;
}
