// The seam between a stage and whatever runs it: processes here, containers or a cluster elsewhere.
// Nothing that only one runner has may appear in these types: no pids, no container ids.

/** Refused or clipped per stage. Null means unlimited. */
export interface StageLimits {
  memoryBytes: number | null;
  /** May be a fraction. A runner without control groups cannot enforce it. */
  cpus: number | null;
  /** Processes and threads together. */
  pids: number;
  /** Size of a single file the stage writes. */
  fileBytes: number | null;
  /** Output that is stored; the middle of a longer one is left out, and a line in the log says so. */
  logBytes: number;
}

/**
 * Directories that the activity has prepared, absolute and on the node of the runner, before `start`.
 * The runner hands them to the stage (ownership, mounts) and leaves everything else out of its reach as far as it can.
 * What is `writable` is the stage's own copy: never a hard link into a cache.
 */
export interface StageFiles {
  /** The attempt's workspace; the other directories are below it. */
  root: string;
  /** Where the command starts. */
  workDir: string;
  /** Directories, with everything in them, that the stage may change. */
  writable: string[];
}

export interface StageSpec {
  /** Run, step and fence: the same launch always has the same name, and no other launch ever has it. */
  name: string;
  /** Executed as it is, without a shell. */
  command: string[];
  /** Id or NAME@digest that the command runs in; null where the runner has no images. */
  image: string | null;
  /** The whole environment: nothing is inherited, a runner only fills in PATH, HOME, LANG, USER and ASSAY_LAUNCH. */
  variables: Record<string, string>;
  files: StageFiles;
  limits: StageLimits;
  network: 'open' | 'platform' | 'none';
  /** Between the request to end and the kill. */
  graceMs: number;
  /** Accelerators taken for this stage, by the ids of the node's vendor tools. */
  devices: string[];
}

export const stageExitReasons = ['exited', 'signalled', 'out-of-memory', 'vanished', 'launch-failed'] as const;

/**
 * exited: the command ended by itself with `code`, or could not be executed (126, 127, as in a shell).
 * signalled: a signal ended it, ours included. out-of-memory: over its limit, whatever the code says.
 * launch-failed: the platform could not start it. vanished: it is gone and nobody saw how.
 * The last two are trouble of the infrastructure, never of the user's code, and never success.
 */
export type StageExitReason = (typeof stageExitReasons)[number];

export interface StageExit {
  reason: StageExitReason;
  code: number | null;
  /** For example SIGKILL. */
  signal: string | null;
  outOfMemory: boolean;
  /** ISO 8601, UTC. */
  startedAt: string;
  finishedAt: string;
  peakMemoryBytes: number;
  cpuSeconds: number;
  /** What the log holds now, and what was left out of it. */
  logBytes: number;
  logDroppedBytes: number;
  /** Processes that outlived the command and were killed. */
  leftoverProcesses: number;
  /** One sentence where the fields above do not say enough. */
  detail: string | null;
}

export interface StageStats {
  memoryBytes: number;
  cpuSeconds: number;
  logBytes: number;
}

export interface StageHandle {
  readonly name: string;
  /** Resolves once per launch with the same value, however often and from whichever worker it is asked. When `abort`
   * fires it rejects with its reason and leaves the stage running. */
  wait(abort?: AbortSignal): Promise<StageExit>;
  /** terminate: asks every process to end and kills them after the grace. kill: at once. Neither waits for the end. */
  signal(kind: 'terminate' | 'kill'): Promise<void>;
  /** At most `maxBytes` of the merged output from that byte on; empty where there is nothing yet. */
  logs(fromByte: number, maxBytes: number): Promise<Buffer>;
  /** A recent sample, not an exact one. */
  stats(): Promise<StageStats>;
  /** Kills what is left and forgets the launch with its log. The stage's directories are the caller's. */
  remove(): Promise<void>;
}

export interface Runner {
  readonly kind: string;
  /** Idempotent by name: a name that is held is attached to, whatever became of it, and never launched twice.
   * Refuses with `network-not-enforceable`. */
  start(spec: StageSpec): Promise<StageHandle>;
  /** Null when this runner does not hold the name. */
  attach(name: string): Promise<StageHandle | null>;
  /** Names held, running or ended: until removed, also across restarts of the worker and the machine. */
  list(): Promise<string[]>;
}
