// The plan is what the workflow knows of a run: names, order and bounds. At most 32 KiB, at most 64 stages.
import type { ProjectConfig } from './project.ts';

export const stagesMax = 64;

export interface StagePlan {
  name: string;
  needs: string[];
  pool: string;
  timeoutMs: number;
  graceMs: number;
  retries: number;
}

export interface Plan {
  stages: StagePlan[];
  /** Whether any data is to be loaded. */
  data: boolean;
  promote: 'by-hand' | 'when-passed';
  /** The one stage that a reproduction of a single step is about: the run ends with it. */
  only?: string;
}

/** The pool is resolved before, because only the platform knows which pools exist. */
export function createPlan(config: ProjectConfig, poolOf: (stage: string) => string): Plan {
  return {
    stages: config.stages.map((stage) => ({
      name: stage.name,
      needs: stage.needs,
      pool: poolOf(stage.name),
      timeoutMs: stage.timeoutMs,
      graceMs: stage.graceMs,
      retries: stage.retries,
    })),
    data: config.data.length > 0,
    promote: config.promote,
  };
}
