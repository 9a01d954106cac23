// Runs as the API shows them, from the rows that remember them.
import type { Attempt, Run, RunSummary, Step } from '#contract/runs.ts';
import { type Failure, legalRunActions } from '#core/run.ts';
import { type CheckpointSet, getInitialCheckpoint } from '#db/checkpoints.ts';
import type { Database } from '#db/connect.ts';
import { getRunDetail, listExecutions, listRunAttempts, listRunSteps, listVersionsOfRun } from '#db/runs.ts';
import type { RunSummaryRow } from '#db/run-summary.ts';
import { explainWaiting, listStageWaits, placeOfQueued, type StageWait } from '#db/waiting.ts';
import { runWorkflowId } from '#workflows/messages.ts';
import type { Accepted, Submit } from '#db/submit.ts';
import type { ApiFacts } from './deps.ts';

/** In the order of the rows, each with what it waits for at this moment. */
export async function summaryViews(db: Database, rows: readonly RunSummaryRow[]): Promise<RunSummary[]> {
  const reasons = await explainWaiting(db, rows);
  return rows.map((row) => ({ ...summaryView(row), waitingReason: reasons.get(row.id) ?? null }));
}

function summaryView(row: RunSummaryRow): RunSummary {
  return {
    ...row,
    label: `${row.project}/${row.number}`,
    failure: failureView(row.failure),
    actions: legalActions(row),
  };
}

/** A verdict stands: the run that it was reached by does not go on. */
function legalActions({ status, verdict }: RunSummaryRow): RunSummary['actions'] {
  const actions = legalRunActions(status);
  return verdict?.as === 'reproduction' ? actions.filter((action) => action !== 'resume') : actions;
}

/** What was just inserted is known without reading it back. */
export function acceptedView(
  project: string,
  submit: Omit<Submit, 'request'>,
  { runId, number, asOf, submittedAt }: Extract<Accepted, { repeated: false }>,
): RunSummary {
  const { experiment, name, tags, owner, priority, ref, branch, commit, dirty, trigger } = submit;
  return {
    id: runId,
    label: `${project}/${number}`,
    project,
    number,
    experiment,
    name,
    tags,
    owner,
    priority,
    status: 'queued',
    waitingReason: null,
    submittedAt,
    startedAt: null,
    finishedAt: null,
    durationMs: null,
    ref,
    branch,
    commit,
    commitMessage: null,
    asOf,
    dirty,
    gateResult: null,
    failure: null,
    trigger,
    verdict: null,
    actions: legalRunActions('queued'),
  };
}

function failureView(failure: Failure | null): RunSummary['failure'] {
  return failure === null ? null : { ...failure, logTail: [...failure.logTail] };
}

export async function loadRunView(db: Database, facts: ApiFacts, id: string): Promise<Run> {
  const [detail, executions, steps, versions, initial] = await Promise.all([
    getRunDetail(db, id),
    listExecutions(db, id),
    loadSteps(db, id),
    listVersionsOfRun(db, id),
    getInitialCheckpoint(db, id),
  ]);
  const { seedAsked, ...rest } = detail;
  return {
    ...rest,
    ...summaryView(detail),
    waitingReason: await fullReason(db, detail),
    seed: detail.seed ?? seedAsked,
    initFrom: initial && initFromView(initial),
    executions: executions.map((row) => ({
      ...row,
      workflowId: runWorkflowId(id, row.n),
      url: executionUrl(facts, runWorkflowId(id, row.n), row.executionId),
    })),
    steps,
    versions,
  };
}

function initFromView({ label, step, fence, number, digest, files, sizeBytes }: CheckpointSet): Run['initFrom'] {
  return { run: label, step, attempt: fence, set: number, digest, files, sizeBytes };
}

/** For a run that waits to be started also its place, which takes counting. */
async function fullReason(db: Database, row: RunSummaryRow): Promise<string | null> {
  const reason = (await explainWaiting(db, [row])).get(row.id) ?? null;
  if (row.status !== 'queued' || reason === null) return reason;
  const queue = await placeOfQueued(db, row.id);
  return queue === null ? reason : `${reason}, about place ${queue.place} of ${queue.of}`;
}

/** The steps of the newest execution, each with all attempts it ever had. */
export async function loadSteps(db: Database, id: string): Promise<Step[]> {
  const [steps, attempts] = await Promise.all([listRunSteps(db, id), listRunAttempts(db, id)]);
  const isWaiting = steps.some(({ status }) => status === 'waiting');
  const waits = new Map((isWaiting ? await listStageWaits(db, [id]) : []).map((wait) => [wait.step, wait]));
  const byStep = Map.groupBy(attempts, (row) => row.step);
  return steps.map(({ fence: _fence, ...row }) => ({
    ...row,
    ...waitingView(row.reason, waits.get(row.name)),
    failure: failureView(row.failure),
    attempts: (byStep.get(row.name) ?? []).map(({ step: _step, ...attempt }): Attempt => {
      return { ...attempt, failure: failureView(attempt.failure) };
    }),
  }));
}

function waitingView(reason: string | null, wait: StageWait | undefined): Pick<Step, 'reason' | 'waiting'> {
  if (wait === undefined) return { reason, waiting: null };
  const { runId: _runId, step: _step, sentence, ...waiting } = wait;
  return { reason: sentence, waiting };
}

function executionUrl({ temporalUi }: ApiFacts, workflowId: string, executionId: string | null): string | null {
  if (temporalUi === null) return null;
  const base = `${temporalUi.url}/namespaces/${encodeURIComponent(temporalUi.namespace)}/workflows/${workflowId}`;
  return executionId === null ? base : `${base}/${executionId}/history`;
}
