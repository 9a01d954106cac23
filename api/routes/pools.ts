import type { FastifyInstance } from 'fastify';
import { routes } from '#contract/routes.ts';
import type { ApiDeps } from '#api/deps.ts';
import { serve } from '#api/serve.ts';
import { listPoolQueues } from '#db/pools.ts';

export function poolRoutes(app: FastifyInstance, { connection: { db } }: ApiDeps): void {
  serve(app, routes.listPools, async () => ({ items: await listPoolQueues(db) }));
}
