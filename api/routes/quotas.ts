import type { FastifyInstance } from 'fastify';
import type { Quota } from '#contract/quotas.ts';
import { routes } from '#contract/routes.ts';
import { everyone, quotaLimits, type Subject, type Usage } from '#core/quota.ts';
import { requireEveryProject } from '#api/access.ts';
import type { ApiDeps } from '#api/deps.ts';
import { serve } from '#api/serve.ts';
import type { Database } from '#db/connect.ts';
import { listQuotas, removeQuota, runUsage, setQuota, stageUsage } from '#db/quotas.ts';

export function quotaRoutes(app: FastifyInstance, { connection: { db } }: ApiDeps): void {
  serve(app, routes.listQuotas, async ({ principal }) => {
    requireEveryProject(principal);
    return { items: await quotaViews(db) };
  });

  serve(app, routes.setQuota, async ({ principal, params, body }) => {
    requireEveryProject(principal);
    await setQuota(db, params, body, principal.owner);
    const found = (await quotaViews(db)).find(({ kind, name }) => kind === params.kind && name === params.name);
    if (found === undefined) throw new Error(`The quota of ${params.kind} ${params.name} was removed meanwhile.`);
    return found;
  });

  serve(app, routes.removeQuota, async ({ principal, params }) => {
    requireEveryProject(principal);
    await removeQuota(db, params, principal.owner);
  });
}

async function quotaViews(db: Database): Promise<Quota[]> {
  const [quotas, ofRuns, ofStages] = await Promise.all([listQuotas(db), runUsage(db), stageUsage(db)]);
  const usages = [...ofRuns, ...ofStages];
  return quotas.map((quota) => ({ ...quota, used: quota.name === everyone ? null : usedBy(quota, usages) }));
}

function usedBy({ kind, name }: Subject, usages: readonly Usage[]): NonNullable<Quota['used']> {
  const mine = usages.filter((usage) => (kind === 'project' ? usage.project : usage.owner) === name);
  const total = (limit: (typeof quotaLimits)[number]) =>
    mine.reduce((sum, { amounts }) => sum + (amounts[limit] ?? 0), 0);
  return { runs: total('runs'), stages: total('stages'), devices: total('devices') };
}
