import type { FastifyInstance } from 'fastify';
import { requireReproducible } from '#activities/reproduction/missing-facts.ts';
import type { Access } from '#api/access.ts';
import type { ApiDeps } from '#api/deps.ts';
import { requestKey } from '#api/idempotency.ts';
import { acceptedView } from '#api/run-view.ts';
import { serve } from '#api/serve.ts';
import { routes } from '#contract/routes.ts';
import { DomainError } from '#core/errors.ts';
import { nearest } from '#core/nearest.ts';
import { defaultPriority, type Priority } from '#core/priority.ts';
import { type LoadedRun, loadRun } from '#db/run-facts.ts';
import { createSubmitter, plainSubmit, type Submit } from '#db/submit.ts';
import { listVerdicts } from '#db/verdicts.ts';
import { createSummaryReader } from './runs.ts';

export function reproduceRoutes(app: FastifyInstance, deps: ApiDeps, access: Access): void {
  const { db, pool } = deps.connection;
  const accept = createSubmitter(pool);
  const summary = createSummaryReader(deps);

  serve(app, routes.reproduceRun, async ({ principal, params, body, request, reply }) => {
    const original = await loadRun(db, await access.run(principal, params.run));
    const only = body.only ?? null;
    if (only !== null) requireStage(original, only);
    await requireReproducible({ db, store: deps.store }, original, only);
    const wanted = { owner: principal.owner, only, priority: body.priority ?? defaultPriority };
    const submit = likeOriginal(original, wanted);
    const accepted = await accept({ ...submit, request: requestKey(request) });
    reply.header('location', `/api/v1/runs/${accepted.runId}`);
    const { name } = original.project;
    return accepted.repeated ? await summary(accepted.runId) : acceptedView(name, submit, accepted);
  });

  serve(app, routes.listVerdicts, async ({ principal, params }) => ({
    items: await listVerdicts(db, await access.run(principal, params.run)),
  }));
}

function requireStage({ run, project }: LoadedRun, only: string): void {
  const stages = (run.config?.stages ?? []).map(({ name }) => name);
  if (run.config === null || stages.includes(only)) return;
  const near = nearest(only, stages);
  const help = near === null ? `Its stages are ${stages.join(', ')}.` : `Did you mean ${near}?`;
  const message = `${project.name}/${run.number} has no stage ${only}. ${help}`;
  throw new DomainError('invalid-request', message, [{ path: 'body.only', message }]);
}

/** A reproduction may be reproduced itself: it points at the run that was named, whose facts are equal anyway. */
function likeOriginal(
  { run }: LoadedRun,
  { owner, only, priority }: { owner: string; only: string | null; priority: Priority },
): Omit<Submit, 'request'> {
  const { request: _request, ...plain } = plainSubmit;
  const { projectId, ref, commit, branch, experiment, overrides, seed, command, asOf, dirty, patchSha256 } = run;
  return {
    ...plain,
    projectId,
    ref,
    commit,
    branch,
    experiment,
    overrides,
    seed,
    command,
    asOf,
    dirty,
    patchSha256,
    owner,
    priority,
    reuse: false,
    reproduces: run.id,
    reproducesOnly: only,
    trigger: null,
  };
}
