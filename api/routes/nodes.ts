import type { FastifyInstance } from 'fastify';
import type { Node } from '#contract/nodes.ts';
import { routes } from '#contract/routes.ts';
import { requireEveryProject } from '#api/access.ts';
import type { ApiDeps } from '#api/deps.ts';
import { serve } from '#api/serve.ts';
import { countOpenAttempts } from '#db/busy-slots.ts';
import type { Database } from '#db/connect.ts';
import { drainNode, listNodes, resumeNode } from '#db/nodes.ts';

export function nodeRoutes(app: FastifyInstance, { connection: { db } }: ApiDeps): void {
  serve(app, routes.listNodes, async ({ query }) => ({ items: await nodeViews(db, query.all === 'true') }));

  serve(app, routes.drainNode, async ({ principal, params, body }) => {
    requireEveryProject(principal);
    await drainNode(db, { id: params.node, by: principal.owner, now: body.now, reason: body.reason ?? null });
    return await nodeView(db, params.node);
  });

  serve(app, routes.resumeNode, async ({ principal, params }) => {
    requireEveryProject(principal);
    await resumeNode(db, { id: params.node, by: principal.owner });
    return await nodeView(db, params.node);
  });
}

async function nodeViews(db: Database, all: boolean): Promise<Node[]> {
  const [nodes, busy] = await Promise.all([listNodes(db, all), countOpenAttempts(db)]);
  return nodes.map((node) => ({
    ...node,
    slotsUsed: busy.get(node.id) ?? 0,
    startedAt: node.startedAt.toISOString(),
    leaseExpiresAt: node.leaseExpiresAt.toISOString(),
    stateSince: node.stateSince.toISOString(),
  }));
}

async function nodeView(db: Database, id: string): Promise<Node> {
  const found = (await nodeViews(db, true)).find((node) => node.id === id);
  if (found === undefined) throw new TypeError(`Node ${id} is gone although nodes are not deleted.`);
  return found;
}
