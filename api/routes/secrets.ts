import type { FastifyInstance } from 'fastify';
import { routes } from '#contract/routes.ts';
import type { Access } from '#api/access.ts';
import type { ApiDeps } from '#api/deps.ts';
import { serve } from '#api/serve.ts';
import { deleteSecret, listSecrets, setSecret } from '#db/secrets.ts';

export function secretRoutes(app: FastifyInstance, deps: ApiDeps, access: Access): void {
  const { db } = deps.connection;

  serve(app, routes.listSecrets, async ({ principal, params }) => {
    const { id } = await access.project(principal, params.project);
    return { items: await listSecrets(db, id) };
  });

  serve(app, routes.setSecret, async ({ principal, params, body }) => {
    const { id } = await access.project(principal, params.project);
    const secret = { projectId: id, name: params.name, value: body.value, by: principal.owner };
    return await setSecret(db, deps.secretsKey, secret);
  });

  serve(app, routes.deleteSecret, async ({ principal, params }) => {
    const { id } = await access.project(principal, params.project);
    await deleteSecret(db, { projectId: id, name: params.name, by: principal.owner });
  });
}
