import type { FastifyInstance } from 'fastify';
import { routes } from '#contract/routes.ts';
import { DomainError } from '#core/errors.ts';
import type { Access } from '#api/access.ts';
import { sendBlob } from '#api/blob-answer.ts';
import type { ApiDeps } from '#api/deps.ts';
import { requestKey } from '#api/idempotency.ts';
import { numberCursor, pageOf, textCursor } from '#api/paging.ts';
import { serve } from '#api/serve.ts';
import { type ArtifactRow, listArtifactsBelow } from '#db/artifacts.ts';
import { findAliased, findVersion, listModels, listVersions, type ModelRow, type VersionRow } from '#db/models.ts';
import { listPromotions, promote } from '#db/promotions.ts';
import { getRunDetail } from '#db/runs.ts';
import { noFile } from './artifacts.ts';

export function modelRoutes(app: FastifyInstance, deps: ApiDeps, access: Access): void {
  const { db } = deps.connection;

  serve(app, routes.listModels, async ({ principal, query: { project, limit, cursor } }) => {
    const only = project === undefined ? principal.projectId : (await access.project(principal, project)).id;
    const rows = await listModels(db, { projectId: only, limit: limit + 1, after: textCursor(cursor) });
    return pageOf(rows, limit, (row) => row.name);
  });

  serve(app, routes.getModel, async ({ principal, params }) => await access.model(principal, params.model));

  serve(app, routes.listVersions, async ({ principal, params, query: { limit, cursor } }) => {
    const model = await access.model(principal, params.model);
    const rows = await listVersions(db, model.id, { limit: limit + 1, before: numberCursor(cursor) });
    return pageOf(rows, limit, (row) => row.version);
  });

  serve(app, routes.getVersion, async ({ principal, params }) => {
    return await versionOf(await access.model(principal, params.model), params.version);
  });

  serve(app, routes.listVersionFiles, async ({ principal, params }) => {
    const version = await versionOf(await access.model(principal, params.model), params.version);
    return { items: await filesOf(version) };
  });

  serve(app, routes.getVersionFile, async ({ principal, params, request, reply }) => {
    const version = await versionOf(await access.model(principal, params.model), params.version);
    const file = (await filesOf(version)).find(({ path }) => path === params['*']);
    if (file === undefined) throw noFile(params['*']);
    return await sendBlob(request, reply, deps.store, { ...file, filename: file.path });
  });

  serve(app, routes.getChampion, async ({ principal, params, query }) => {
    const model = await access.model(principal, params.model);
    const version = await findAliased(db, model.id, query.alias);
    if (version === undefined) throw noAlias(model.name, query.alias);
    return version;
  });

  serve(app, routes.listPromotions, async ({ principal, params, query: { limit, cursor } }) => {
    const model = await access.model(principal, params.model);
    const rows = await listPromotions(db, model.id, { limit: limit + 1, before: numberCursor(cursor) });
    return pageOf(rows, limit, (row) => row.id);
  });

  serve(app, routes.promote, async ({ principal, params, body, request }) => {
    const model = await access.model(principal, params.model);
    const wanted = { ...body, modelId: model.id, by: principal.owner, reason: body.reason ?? null };
    return await promote(db, wanted, requestKey(request));
  });

  async function versionOf(model: ModelRow, number: number): Promise<VersionRow> {
    const version = await findVersion(db, model.id, number);
    if (version !== undefined) return version;
    throw new DomainError(
      'not-found',
      `The model ${model.name} has no version ${number}. List its versions to see them.`,
    );
  }

  /** Paths are relative to the model's own path in the project, so that a download is the model and nothing around it. */
  async function filesOf(version: VersionRow): Promise<ArtifactRow[]> {
    const { config } = await getRunDetail(db, version.run);
    const declared = config?.models.find(({ name }) => name === version.model)?.path ?? '';
    const folder = declared.replace(/^(?:\.\/)+/, '').replace(/\/+$/, '');
    const files = await listArtifactsBelow(db, version.run, folder);
    return files.map((file) => ({ ...file, path: pathWithin(folder, file.path) }));
  }
}

function pathWithin(folder: string, path: string): string {
  if (folder === '' || folder === '.') return path;
  return path === folder ? (path.split('/').at(-1) ?? path) : path.slice(folder.length + 1);
}

function noAlias(model: string, alias: string): DomainError {
  const what = alias === 'production' ? 'champion' : `version behind "${alias}"`;
  return new DomainError(
    'not-found',
    `The model ${model} has no ${what} yet. Promote a version with \`assay promote\`.`,
  );
}
