// What is kept of the run that is resumed.
import type { Params, ProjectConfig } from '#core/project.ts';
import { isStepClosed } from '#core/run.ts';
import { getInitialCheckpoint } from '#db/checkpoints.ts';
import type { Database } from '#db/connect.ts';
import { countExecutions, type KeptStep, listStepsOfRun } from '#db/resume.ts';
import { listRunData, type RunData } from '#db/run-data.ts';
import { type LoadedRun, loadRun } from '#db/run-facts.ts';

export interface Before {
  run: LoadedRun['run'];
  project: LoadedRun['project'];
  label: string;
  config: ProjectConfig | null;
  executions: number;
  params: Params;
  /** How the step ended in the newest execution. */
  newest: (name: string) => KeptStep | undefined;
  /** The newest that has a key. */
  keyed: (name: string) => KeptStep | undefined;
  /** The newest that has a result. */
  result: (name: string) => KeptStep | undefined;
  data: readonly RunData[];
  initFrom: Awaited<ReturnType<typeof getInitialCheckpoint>>;
}

export async function loadBefore(db: Database, runId: string): Promise<Before> {
  const [{ run, project }, steps, data, executions, initFrom] = await Promise.all([
    loadRun(db, runId),
    listStepsOfRun(db, runId),
    listRunData(db, runId),
    countExecutions(db, runId),
    getInitialCheckpoint(db, runId),
  ]);
  const find = (holds: (step: KeptStep) => boolean) => (name: string) =>
    steps.find((step) => step.name === name && holds(step));
  const execution = steps[0]?.execution;
  return {
    run,
    project,
    label: `${project.name}/${run.number}`,
    config: run.config,
    executions,
    params: (run.params ?? {}) as Params,
    newest: find((step) => step.execution === execution),
    keyed: find((step) => step.ingredients !== null),
    result: find((step) => step.status === 'succeeded' || step.status === 'reused'),
    data,
    initFrom,
  };
}

const sentenceMax = 160;

/** Why a step has no result, as a clause. */
export function whyUnfinished(step: KeptStep | undefined): string {
  if (step === undefined || step.status === 'skipped' || !isStepClosed(step.status)) return 'it has not run yet';
  if (step.status === 'cancelled') return 'it did not finish (cancelled)';
  if (step.status !== 'failed') return 'no equal result is kept';
  const sentence = step.failure?.sentence ?? step.reason;
  return sentence ? `it did not finish (failed: ${cut(sentence)})` : 'it did not finish (failed)';
}

function cut(sentence: string): string {
  const bare = sentence.replace(/\s+/g, ' ').replace(/\.$/, '');
  return bare.length <= sentenceMax ? bare : `${bare.slice(0, sentenceMax - 1)}…`;
}
