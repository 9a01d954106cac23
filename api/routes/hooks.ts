import type { FastifyInstance } from 'fastify';
import type { Hook } from '#contract/hooks.ts';
import { apiPrefix, routes } from '#contract/routes.ts';
import { DomainError } from '#core/errors.ts';
import type { Access } from '#api/access.ts';
import type { ApiDeps } from '#api/deps.ts';
import { requestKey } from '#api/idempotency.ts';
import { serve } from '#api/serve.ts';
import { newestStatusFailure } from '#db/commit-statuses.ts';
import { createHook, deleteHook, getHook, type HookRow, rotateHook } from '#db/hooks.ts';
import { getPoll } from '#db/remote-polls.ts';

export function hookRoutes(app: FastifyInstance, deps: ApiDeps, access: Access): void {
  const { db, pool } = deps.connection;

  const view = async (project: { id: string; name: string }, row: HookRow): Promise<Hook> => {
    const poll = await getPoll(pool, project.id);
    const { version: _version, ...hook } = row;
    return {
      ...hook,
      urls: urlsOf(deps.facts.publicUrl, project.name),
      polledAt: poll?.polledAt ?? null,
      pollFailure: poll?.failure ?? null,
      statusFailure: await newestStatusFailure(pool, project.id),
    };
  };

  serve(app, routes.createHook, async ({ principal, params, request }) => {
    const project = await access.project(principal, params.project);
    const wanted = { projectId: project.id, by: principal.owner };
    const { hook, secret } = await createHook(db, deps.secretsKey, wanted, requestKey(request));
    return { ...(await view(project, hook)), secret };
  });

  serve(app, routes.getHook, async ({ principal, params }) => {
    const project = await access.project(principal, params.project);
    const hook = await getHook(db, project.id);
    if (hook === undefined) {
      const message = `The project ${project.name} has no webhook. Make one with \`assay hooks create ${project.name}\`.`;
      throw new DomainError('not-found', message);
    }
    return await view(project, hook);
  });

  serve(app, routes.rotateHook, async ({ principal, params, request }) => {
    const project = await access.project(principal, params.project);
    const wanted = { projectId: project.id, by: principal.owner };
    const { hook, secret } = await rotateHook(db, deps.secretsKey, wanted, requestKey(request));
    return { ...(await view(project, hook)), secret };
  });

  serve(app, routes.deleteHook, async ({ principal, params }) => {
    const { id } = await access.project(principal, params.project);
    await deleteHook(db, { projectId: id, by: principal.owner });
  });
}

function urlsOf(publicUrl: string, project: string): Hook['urls'] {
  const url = (source: keyof Hook['urls']) => `${publicUrl}${apiPrefix}/hooks/${source}/${project}`;
  return { github: url('github'), gitlab: url('gitlab'), gitea: url('gitea'), generic: url('generic') };
}
