// What an activity that watches a launch holds: the node's means, and the run, stage and attempt it works on.
import type { KeyObject } from 'node:crypto';
import type { Hardware } from '#core/hardware.ts';
import type { ProjectConfig, Stage } from '#core/project.ts';
import type { Attempt } from '#db/attempts.ts';
import type { Database } from '#db/connect.ts';
import type { LoadedRun } from '#db/run-facts.ts';
import type { Lake } from '#lake/lake.ts';
import type { BlobStore } from '#storage/blob-store.ts';
import type { Environments } from '#activities/environments.ts';
import type { Runner } from '#activities/runners/runner.ts';
import type { Leaving } from './leaving.ts';
import type { Slots } from './slots.ts';
import type { SourceCache } from './source-cache.ts';
import type { Watches } from './watches.ts';
import type { Workspace } from './workspace.ts';

export interface StageNode {
  id: string;
  pool: string;
  leaseMs: number;
  hardware: Hardware;
}

export interface StageDeps {
  db: Database;
  store: BlobStore;
  runner: Runner;
  node: StageNode;
  slots: Slots;
  environments: Environments;
  sources: SourceCache;
  lake: Lake;
  secretsKey: KeyObject;
  workDir: string;
  logBytesMax: number;
  publicUrl: string;
  leaving: Leaving;
  /** Called when a launch ended by trouble of this node, once that is recorded. */
  afterTrouble: () => Promise<void>;
  /** Launches that an activity of this process watches; the node reconciler leaves them alone. */
  watched: Watches;
}

/** The run, the stage and the attempt that an activity works on. */
export interface Watch {
  deps: StageDeps;
  loaded: LoadedRun;
  config: ProjectConfig;
  stage: Stage;
  attempt: Attempt;
  space: Workspace;
  secrets: Record<string, string>;
  abort: AbortSignal;
}
