import type { FastifyInstance } from 'fastify';
import { routes } from '#contract/routes.ts';
import { DomainError } from '#core/errors.ts';
import { runStatuses, type RunStatus } from '#core/run.ts';
import type { Access } from '#api/access.ts';
import type { ApiDeps } from '#api/deps.ts';
import { requestKey } from '#api/idempotency.ts';
import { acceptedView, loadRunView, summaryViews } from '#api/run-view.ts';
import { serve } from '#api/serve.ts';
import { prepareSubmit } from '#api/submit.ts';
import { coalesce } from '#db/coalesce.ts';
import { getRunSummaries } from '#db/run-summary.ts';
import { searchRuns } from '#db/run-search.ts';
import { changeRun } from '#db/runs.ts';
import { createSubmitter } from '#db/submit.ts';

/** A patch travels inside the body. */
const submitBytesMax = 9 * 1024 * 1024;

export function runRoutes(app: FastifyInstance, deps: ApiDeps, access: Access): void {
  const { db, pool } = deps.connection;
  const accept = createSubmitter(pool);
  const summary = createSummaryReader(deps);

  serve(
    app,
    routes.submitRun,
    async ({ principal, params, body, request, reply }) => {
      const project = await access.project(principal, params.project);
      const key = requestKey(request);
      const submit = await prepareSubmit(deps, access, principal, project, body);
      const accepted = await accept({ ...submit, request: key });
      reply.header('location', `/api/v1/runs/${accepted.runId}`);
      return accepted.repeated ? await summary(accepted.runId) : acceptedView(project.name, submit, accepted);
    },
    { bodyBytesMax: submitBytesMax },
  );

  serve(app, routes.listRuns, async ({ principal, query }) => {
    const project = query.project === undefined ? null : await access.project(principal, query.project);
    const page = await searchRuns(db, {
      projectId: project?.id ?? principal.projectId,
      experiment: query.experiment ?? null,
      statuses: statusesOf(query.status),
      owner: query.owner ?? null,
      tag: query.tag ?? null,
      filter: query.filter ?? '',
      sort: query.sort ?? '',
      limit: query.limit,
      cursor: query.cursor ?? null,
    });
    return { ...page, items: await summaryViews(db, page.items) };
  });

  serve(app, routes.getRun, async ({ principal, params }) => {
    return await loadRunView(db, deps.facts, await access.run(principal, params.run));
  });

  serve(app, routes.changeRun, async ({ principal, params, body }) => {
    const id = await access.run(principal, params.run);
    await changeRun(db, id, body, principal.owner);
    return await summary(id);
  });
}

/** Reads one run; calls of one moment share one statement. */
export function createSummaryReader({ connection: { db } }: ApiDeps) {
  const read = coalesce(async (ids: string[]) => {
    const rows = await getRunSummaries(db, ids);
    const views = await summaryViews(
      db,
      rows.filter((row) => row !== undefined),
    );
    const byId = new Map(views.map((view) => [view.id, view]));
    return ids.map((id) => byId.get(id));
  });
  return async (id: string) => {
    const view = await read(id);
    if (view === undefined) throw new TypeError(`Run ${id} is gone although runs are not deleted.`);
    return view;
  };
}

function statusesOf(text: string | undefined): RunStatus[] {
  if (text === undefined) return [];
  return text.split(',').map((name) => {
    const status = runStatuses.find((known) => known === name.trim());
    if (status !== undefined) return status;
    const message = `found "${name.slice(0, 60)}", expected ${runStatuses.join(', ')}`;
    throw new DomainError('invalid-request', `status: ${message}.`, [{ path: 'query.status', message }]);
  });
}
