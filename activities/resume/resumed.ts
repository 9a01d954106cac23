import type { Params, ProjectConfig } from '#core/project.ts';

/** What the resumed run is to be. */
export interface Resumed {
  /** Of a run that does not exist yet an id that nobody has. */
  runId: string;
  execution: number;
  commit: string;
  config: ProjectConfig;
  params: Params;
  seed: number;
  /** The stage from which on everything runs, whatever results are kept. */
  from: string | null;
  /** Every stage that runs for that reason. */
  rerun: readonly string[];
  /** False: only results of this run itself count. */
  shares: boolean;
}
