// What people ask of a run that goes on: stop, decide. Postgres first; Temporal is told when it is there.
import { WorkflowNotFoundError, WorkflowUpdateFailedError } from '@temporalio/client';
import type { FastifyBaseLogger, FastifyInstance } from 'fastify';
import { routes } from '#contract/routes.ts';
import { DomainError } from '#core/errors.ts';
import { runCan } from '#core/run.ts';
import type { Access } from '#api/access.ts';
import type { ApiDeps } from '#api/deps.ts';
import { HttpError } from '#api/problems.ts';
import { serve } from '#api/serve.ts';
import { recordAudit } from '#db/audit.ts';
import { listExecutions, requestCancel } from '#db/runs.ts';
import { type Resolution, resolveUpdate, runWorkflowId } from '#workflows/messages.ts';
import { createSummaryReader } from './runs.ts';

const cancelDeadlineMs = 2_000;
const resolveDeadlineMs = 10_000;

export function runControlRoutes(app: FastifyInstance, deps: ApiDeps, access: Access): void {
  const { db } = deps.connection;
  const summary = createSummaryReader(deps);

  serve(app, routes.cancelRun, async ({ principal, params, request }) => {
    const id = await access.run(principal, params.run);
    const { openExecution } = await requestCancel(db, id, principal.owner);
    if (openExecution !== null) await tellTemporal(deps, runWorkflowId(id, openExecution), request.log);
    return await summary(id);
  });

  serve(app, routes.resolveRun, async ({ principal, params, body }) => {
    const id = await access.run(principal, params.run);
    const before = await summary(id);
    if (!runCan('resolve', before.status)) throw notWaitingForAPerson(before.status);
    const [newest] = (await listExecutions(db, id)).toReversed();
    await decide(deps, runWorkflowId(id, newest?.n ?? 1), { action: body.action, by: principal.owner });
    await recordAudit(db, { actor: principal.owner, action: `run.resolve-${body.action}`, target: id });
    return await summary(id);
  });
}

/** The request is stored, so a Temporal that does not answer delays the stop and loses nothing. */
async function tellTemporal(deps: ApiDeps, workflowId: string, log: FastifyBaseLogger): Promise<void> {
  const client = deps.temporal();
  if (client === null) return;
  try {
    await client.withDeadline(Date.now() + cancelDeadlineMs, () => client.workflow.getHandle(workflowId).cancel());
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return;
    log.warn({ err: error, workflowId }, 'Temporal was not told of a cancellation; the reconciler will do it');
  }
}

/** A decision counts only once the workflow took it. */
async function decide(deps: ApiDeps, workflowId: string, resolution: Resolution): Promise<void> {
  const client = deps.temporal();
  if (client === null) throw temporalAway();
  try {
    await client.withDeadline(Date.now() + resolveDeadlineMs, () =>
      client.workflow.getHandle(workflowId).executeUpdate(resolveUpdate, { args: [resolution] }),
    );
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) throw notWaitingForAPerson('closed');
    if (error instanceof WorkflowUpdateFailedError)
      throw new DomainError('conflict', error.cause?.message ?? error.message);
    throw temporalAway(error);
  }
}

function notWaitingForAPerson(status: string): DomainError {
  return new DomainError('conflict', `The run is ${status}; only a run that needs attention can be resolved.`);
}

function temporalAway(cause?: unknown): HttpError {
  const error = new HttpError(
    'unavailable',
    'Temporal does not answer, so no decision was taken. Try again in a moment.',
  );
  error.cause = cause;
  return error;
}
