// One of the two runs of a comparison, with all that is compared.
import { isFinished, type Failure } from '#core/run.ts';
import type { StageIngredients } from '#core/step-key.ts';
import { listArtifacts, type ArtifactRow } from '#db/artifacts.ts';
import { type EnvironmentRow, getEnvironment } from '#db/environments.ts';
import { listMetrics, type MetricRow } from '#db/metrics.ts';
import { listNewestSteps, listResultAttempts, type ResultAttempt } from '#db/result-attempts.ts';
import { listRunData, type RunData } from '#db/run-data.ts';
import { type LoadedRun, loadRun } from '#db/run-facts.ts';
import type { VerdictDeps } from './deps.ts';

export interface Side {
  run: LoadedRun['run'];
  steps: Awaited<ReturnType<typeof listNewestSteps>>;
  environment: EnvironmentRow | undefined;
  data: RunData[];
  artifacts: ArtifactRow[];
  metrics: MetricRow[];
  /** The attempt that made each stage's result. */
  attempts: ReadonlyMap<string, ResultAttempt>;
}

export async function loadSide({ db }: VerdictDeps, runId: string): Promise<Side> {
  const { run } = await loadRun(db, runId);
  const [steps, environment, data, artifacts, metrics, attempts] = await Promise.all([
    listNewestSteps(db, runId),
    run.environmentKey === null ? undefined : getEnvironment(db, run.environmentKey),
    listRunData(db, runId),
    listArtifacts(db, runId, { all: false }),
    listMetrics(db, runId),
    listResultAttempts(db, runId),
  ]);
  return {
    run,
    steps,
    environment,
    data,
    artifacts,
    metrics,
    attempts: new Map(attempts.map((row) => [row.step, row])),
  };
}

/** What each stage was made from, where it came so far. */
export function ingredientsOf(side: Side): Map<string, Partial<StageIngredients>> {
  const stages = side.steps.filter((step) => step.kind === 'stage' && step.ingredients !== null);
  return new Map(stages.map((step) => [step.name, step.ingredients as Partial<StageIngredients>]));
}

export interface Ending {
  status: 'succeeded' | 'failed' | 'cancelled' | 'unfinished';
  failure: Failure | null;
}

/** A reproduction is compared before its run is closed, so its steps say how it went. */
export function endingOf({ run, steps }: Side): Ending {
  const failed = steps.find((step) => step.status === 'failed');
  const failure = run.failure ?? failed?.failure ?? null;
  if (isFinished(run.status)) return { status: run.status as Ending['status'], failure };
  if (failed !== undefined) return { status: 'failed', failure };
  const stages = steps.filter((step) => step.kind === 'stage');
  const done = stages.length > 0 && stages.every(({ status }) => status === 'succeeded' || status === 'reused');
  return { status: done ? 'succeeded' : 'unfinished', failure };
}
