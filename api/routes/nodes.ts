import type { FastifyInstance } from 'fastify';
import { routes } from '#contract/routes.ts';
import type { ApiDeps } from '#api/deps.ts';
import { serve } from '#api/serve.ts';
import { countOpenAttempts } from '#db/busy-slots.ts';
import { listNodes } from '#db/nodes.ts';

export function nodeRoutes(app: FastifyInstance, { connection: { db } }: ApiDeps): void {
  serve(app, routes.listNodes, async () => {
    const [nodes, busy] = await Promise.all([listNodes(db), countOpenAttempts(db)]);
    return {
      items: nodes.map((node) => ({
        ...node,
        slotsUsed: busy.get(node.id) ?? 0,
        startedAt: node.startedAt.toISOString(),
        leaseExpiresAt: node.leaseExpiresAt.toISOString(),
      })),
    };
  });
}
