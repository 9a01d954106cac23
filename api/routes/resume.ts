import type { FastifyInstance } from 'fastify';
import { routes } from '#contract/routes.ts';
import type { Access } from '#api/access.ts';
import type { ApiDeps } from '#api/deps.ts';
import { requestKey } from '#api/idempotency.ts';
import { prepareResume } from '#api/resume.ts';
import { serve } from '#api/serve.ts';
import { findRequest } from '#db/idempotency.ts';
import { resumeAsNewRun, resumeRun } from '#db/resume.ts';
import { createSummaryReader } from './runs.ts';

export function resumeRoutes(app: FastifyInstance, deps: ApiDeps, access: Access): void {
  const { db, pool } = deps.connection;
  const summary = createSummaryReader(deps);

  serve(app, routes.resumeRun, async ({ principal, params, body, request, reply }) => {
    const id = await access.run(principal, params.run);
    const key = body.plan === true ? null : requestKey(request);
    const before = key === null ? null : await findRequest(db, key);
    if (before !== null) return { plan: null, run: await summary(before) };
    const { plan, rerun, submit } = await prepareResume(deps, id, principal.owner, body);
    if (body.plan === true) return { plan, run: null };
    if (submit === null) {
      await resumeRun(db, id, { by: principal.owner, request: key, rerun });
      return { plan, run: await summary(id) };
    }
    const runId = await resumeAsNewRun(pool, { ...submit, request: key });
    reply.header('location', `/api/v1/runs/${runId}`);
    return { plan, run: await summary(runId) };
  });
}
