// The words of a run and the table of what may be done to it in each state.

export const runStatuses = [
  'queued',
  'running',
  'waiting',
  'needs-attention',
  'succeeded',
  'failed',
  'cancelled',
] as const;
export type RunStatus = (typeof runStatuses)[number];

export const stepStatuses = [
  'pending',
  'waiting',
  'running',
  'succeeded',
  'reused',
  'failed',
  'skipped',
  'cancelled',
] as const;
export type StepStatus = (typeof stepStatuses)[number];

/** The steps Assay itself provides; every other step name is a stage of the project. */
export const platformSteps = [
  'resolve-commit',
  'build-environment',
  'load-data',
  'persist',
  'gate',
  'promote',
  'verdict',
] as const;

export const gateResults = ['passed', 'failed', 'none'] as const;
export type GateResult = (typeof gateResults)[number];

/** Who or what a failure is to be blamed on; retries and alerts depend on it. */
export const failureClasses = [
  'user',
  'data',
  'environment',
  'resources',
  'infrastructure',
  'timeout',
  'platform',
] as const;
export type FailureClass = (typeof failureClasses)[number];

/** An outcome, not an exception: stored, shown, and enough to explain what happened in one sentence. */
export interface Failure {
  class: FailureClass;
  /** One plain sentence for people. */
  sentence: string;
  step: string | null;
  /** The last lines the stage printed, newest last; at most 20. */
  logTail: string[];
  exitCode: number | null;
}

const finished: readonly RunStatus[] = ['succeeded', 'failed', 'cancelled'];

export function isFinished(status: RunStatus): boolean {
  return finished.includes(status);
}

const closedSteps: readonly StepStatus[] = ['succeeded', 'reused', 'failed', 'skipped', 'cancelled'];

export function isStepClosed(status: StepStatus): boolean {
  return closedSteps.includes(status);
}

export const openRunStatuses = [
  'queued',
  'running',
  'waiting',
  'needs-attention',
] as const satisfies readonly RunStatus[];
const open: readonly RunStatus[] = openRunStatuses;

const allowed = {
  cancel: open,
  resolve: ['needs-attention'],
  /** In a new execution; a run that succeeded is only taken up by another run. */
  resume: ['failed', 'cancelled'],
} as const satisfies Record<string, readonly RunStatus[]>;

export type RunAction = keyof typeof allowed;

/** Which actions are legal in a state; the API serves the answer so that no client repeats the rule. */
export function runCan(action: RunAction, status: RunStatus): boolean {
  return (allowed[action] as readonly RunStatus[]).includes(status);
}

export function legalRunActions(status: RunStatus): RunAction[] {
  return (Object.keys(allowed) as RunAction[]).filter((action) => runCan(action, status));
}
