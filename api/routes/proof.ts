import type { FastifyInstance } from 'fastify';
import { routes } from '#contract/routes.ts';
import type { Access } from '#api/access.ts';
import { composeBundle } from '#api/bundle/compose-bundle.ts';
import { sendBundle } from '#api/bundle/send-bundle.ts';
import type { ApiDeps } from '#api/deps.ts';
import { serve } from '#api/serve.ts';
import { listSigningKeys } from '#db/signing-keys.ts';

/** The statement itself is one of the blobs of a run, which artifacts.ts sends. */
export function proofRoutes(app: FastifyInstance, deps: ApiDeps, access: Access): void {
  const { connection, store } = deps;
  const { db } = connection;

  serve(app, routes.listKeys, async () => ({ items: await listSigningKeys(db) }));

  serve(app, routes.getRunBundle, async ({ principal, params, query, request, reply }) => {
    const id = await access.run(principal, params.run);
    const bundle = await composeBundle({ db, store }, id, { withData: query.data === 'include' });
    return await sendBundle(request, reply, store, bundle);
  });
}
