import type { FastifyInstance } from 'fastify';
import { routes } from '#contract/routes.ts';
import { DomainError } from '#core/errors.ts';
import type { Access } from '#api/access.ts';
import type { ApiDeps } from '#api/deps.ts';
import { diffRuns } from '#api/run-diff.ts';
import { serve } from '#api/serve.ts';
import { findAliased, findModel } from '#db/models.ts';
import { getRunDetail } from '#db/runs.ts';
import type { Principal } from '#db/tokens.ts';

const patchBytesMax = { none: 0, short: 16 * 1024, whole: 8 * 1024 * 1024 } as const;

export function diffRoutes(app: FastifyInstance, deps: ApiDeps, access: Access): void {
  serve(app, routes.diffRuns, async ({ principal, params, query }) => {
    const after = await access.run(principal, params.run);
    const before =
      query.with === 'champion'
        ? await championOf(principal, after)
        : { id: await access.run(principal, query.with), title: null };
    const wanted = { patchBytesMax: patchBytesMax[query.patch], profile: query.profile, all: query.all };
    return await diffRuns(deps, { before, after: { id: after, title: null } }, wanted);
  });

  async function championOf(principal: Principal, run: string): Promise<{ id: string; title: string }> {
    const { db } = deps.connection;
    const { config, project, number } = await getRunDetail(db, run);
    const name = config?.models[0]?.name;
    if (name === undefined) {
      throw new DomainError(
        'not-found',
        `${project}/${number} declares no model, so it has no champion. Name the run to compare it with.`,
      );
    }
    const model = await findModel(db, name, principal.projectId);
    const champion = model && (await findAliased(db, model.id, 'production'));
    if (champion === undefined) {
      throw new DomainError(
        'not-found',
        `No version of ${name} was promoted yet, so there is no champion. Name the run to compare it with.`,
      );
    }
    return { id: champion.run, title: `the champion ${name} version ${champion.version}` };
  }
}
