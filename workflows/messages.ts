// PUBLIC FACE of the workflows: names, ids, queues and payloads. Persisted names: chosen once.

export const runWorkflow = 'run';

export interface RunInput {
  runId: string;
  /** Counts from 1; a resumed or retried run has several. */
  execution: number;
  /** The run does another one again and ends in a verdict; absent for all others. */
  reproduces?: true;
}

export interface RunResult {
  status: 'succeeded' | 'failed' | 'cancelled';
  gate: 'passed' | 'failed' | 'none' | null;
  sentence: string | null;
}

/** One id per execution, so that starting it twice is harmless for ever. */
export function runWorkflowId(runId: string, execution: number): string {
  return `${runId}.${execution}`;
}

export const controlQueue = 'control';

export function poolQueue(pool: string): string {
  return `pool.${pool}`;
}

/** Environments are made where stages run, because only there the engine, the Python and the libraries are theirs. */
export function environmentQueue(pool: string): string {
  return `environment.${pool}`;
}

export function nodeQueue(nodeId: string): string {
  return `node.${nodeId}`;
}

/** One tick of a schedule; Temporal's schedule starts it. */
export const triggerWorkflow = 'trigger';

export interface TriggerInput {
  scheduleId: string;
}

export interface TriggerResult {
  nominalAt: string;
  /** Null with the reason in `skipped`. */
  runId: string | null;
  skipped: string | null;
}

/** A person's decision about a run that needs attention; an Update, because the caller wants to know it was taken. */
export const resolveUpdate = 'resolve';

export interface Resolution {
  action: 'retry' | 'abort';
  by: string;
}

/** Days a run waits for a person before it fails. */
export const attentionDaysMax = 7;
