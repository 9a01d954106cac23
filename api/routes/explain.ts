import type { FastifyInstance } from 'fastify';
import { routes } from '#contract/routes.ts';
import type { Access } from '#api/access.ts';
import type { ApiDeps } from '#api/deps.ts';
import { serve } from '#api/serve.ts';
import { explainRun } from '#api/step-explanation.ts';

export function explainRoutes(app: FastifyInstance, deps: ApiDeps, access: Access): void {
  serve(app, routes.explainRun, async ({ principal, params, query: { step, with: other, files } }) => {
    const run = await access.run(principal, params.run);
    const compared = other === undefined ? undefined : await access.run(principal, other);
    return await explainRun(deps, run, { step, with: compared, files });
  });
}
