import type { FastifyInstance } from 'fastify';
import type { Dataset, DatasetVersion } from '#contract/datasets.ts';
import { routes } from '#contract/routes.ts';
import { sendBlob } from '#api/blob-answer.ts';
import type { ApiDeps } from '#api/deps.ts';
import { requestKey } from '#api/idempotency.ts';
import { pageOf, textCursor } from '#api/paging.ts';
import { serve } from '#api/serve.ts';
import { bodyStream, refuseDeclaredSize } from '#api/upload.ts';
import { recordAudit } from '#db/audit.ts';
import { missingBlobs } from '#db/blobs.ts';
import { rememberRequest } from '#db/idempotency.ts';
import type { DatasetVersionRow } from '#db/datasets.ts';
import { createDatasetVersion, getDataset, listDatasets, listDatasetVersions } from '#lake/datasets.ts';
import { keepBlob } from '#storage/keep.ts';
import { noFile } from './artifacts.ts';

/** Lists of 100,000 files. */
const listBytesMax = 32 * 1024 * 1024;

export function datasetRoutes(app: FastifyInstance, { connection: { db }, store, facts }: ApiDeps): void {
  const lake = { db };

  serve(app, routes.listDatasets, async ({ query: { limit, cursor } }) => {
    const after = textCursor(cursor);
    const newest = (await listDatasets(lake)).filter(({ name }) => after === null || name > after);
    const page = pageOf(newest, limit, (row) => row.name);
    const items = await Promise.all(
      page.items.map(async ({ name }) => datasetView(await listDatasetVersions(lake, name))),
    );
    return { ...page, items };
  });

  serve(app, routes.getDataset, async ({ params }) => {
    const versions = await listDatasetVersions(lake, params.dataset);
    return { ...datasetView(versions), versions: versions.map(versionView) };
  });

  serve(app, routes.listDatasetFiles, async ({ params }) => {
    return { items: (await getDataset(lake, params.dataset, { version: params.version })).contents };
  });

  serve(app, routes.getDatasetFile, async ({ params, request, reply }) => {
    const { contents } = await getDataset(lake, params.dataset, { version: params.version });
    const file = contents.find(({ path }) => path === params['*']);
    if (file === undefined) throw noFile(params['*']);
    const mediaType = 'application/octet-stream';
    return await sendBlob(request, reply, store, { ...file, mediaType, filename: file.path });
  });

  serve(
    app,
    routes.addDatasetVersion,
    async ({ principal, params, body, request }) => {
      // Equal files are one version by themselves; the key only keeps other files from being sent under it.
      const key = requestKey(request);
      await db.transaction((tx) => rememberRequest(tx, key, params.dataset));
      const version = await createDatasetVersion(lake, {
        name: params.dataset,
        files: body.files,
        by: principal.owner,
      });
      const what = { version: version.version, digest: version.digest, unchanged: version.unchanged };
      await recordAudit(db, { actor: principal.owner, action: 'dataset.add', target: params.dataset, facts: what });
      return versionView(version);
    },
    { bodyBytesMax: listBytesMax },
  );

  serve(app, routes.putBlob, async ({ params, request }) => {
    refuseDeclaredSize(request, facts.uploadBytesMax);
    return await keepBlob(db, store, bodyStream(request), {
      sha256: params.sha256,
      sizeBytesMax: facts.uploadBytesMax,
    });
  });

  serve(app, routes.listMissingBlobs, async ({ body }) => ({ missing: await missingBlobs(db, body.sha256) }), {
    bodyBytesMax: listBytesMax,
  });
}

/** Newest version first; a dataset is as old as its first version. */
function datasetView(versions: readonly DatasetVersionRow[]): Dataset {
  const [latest] = versions;
  const first = versions.at(-1);
  if (latest === undefined || first === undefined) throw new TypeError('A dataset without versions is not a dataset.');
  return { name: latest.name, createdBy: first.committedBy, createdAt: first.committedAt, latest: versionView(latest) };
}

function versionView({ name, ...version }: DatasetVersionRow): DatasetVersion {
  return { ...version, dataset: name };
}
