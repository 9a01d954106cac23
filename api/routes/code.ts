import type { FastifyInstance } from 'fastify';
import { routes } from '#contract/routes.ts';
import type { Access } from '#api/access.ts';
import type { ApiDeps } from '#api/deps.ts';
import { serve } from '#api/serve.ts';
import { withUploadedFile } from '#api/upload.ts';
import { recordAudit } from '#db/audit.ts';

export function codeRoutes(app: FastifyInstance, deps: ApiDeps, access: Access): void {
  serve(app, routes.negotiateCode, async ({ principal, params, body }) => {
    const project = await access.project(principal, params.project);
    await deps.mirrors.ensure(project.id);
    return { have: await deps.mirrors.hasCommits(project.id, body.commits) };
  });

  serve(app, routes.sendBundle, async ({ principal, params, query, request }) => {
    const project = await access.project(principal, params.project);
    await deps.mirrors.ensure(project.id);
    const received = await withUploadedFile(request, deps.facts, (file) =>
      deps.mirrors.ingestBundle(project.id, file, query.commit),
    );
    const facts = { commit: received.commit };
    await recordAudit(deps.connection.db, { actor: principal.owner, action: 'code.send', target: project.id, facts });
    return { commit: received.commit, tree: received.tree };
  });
}
