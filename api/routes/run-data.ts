// The data a run was given, as it was given.
import type { FastifyInstance } from 'fastify';
import { routes } from '#contract/routes.ts';
import { DomainError } from '#core/errors.ts';
import type { Access } from '#api/access.ts';
import { fileHeaders } from '#api/blob-answer.ts';
import type { ApiDeps } from '#api/deps.ts';
import { serve } from '#api/serve.ts';
import { type RowFormat, sendSnapshot } from '#api/snapshot-answer.ts';
import { listRunData } from '#db/runs.ts';
import { getDataset } from '#lake/datasets.ts';
import { getSnapshot } from '#lake/export.ts';
import type { Lake } from '#lake/lake.ts';

export function runDataRoutes(app: FastifyInstance, deps: ApiDeps, access: Access): void {
  const { db } = deps.connection;
  const lake: Lake = { db, store: deps.store, engine: deps.lakeEngine };

  serve(app, routes.listRunData, async ({ principal, params }) => {
    const rows = await listRunData(db, await access.run(principal, params.run));
    return {
      items: rows.map((row) => ({ ...row, kind: row.snapshot === null ? ('dataset' as const) : ('query' as const) })),
    };
  });

  serve(app, routes.getRunData, async ({ principal, params, query, request, reply }) => {
    const rows = await listRunData(db, await access.run(principal, params.run));
    const row = rows.find(({ name }) => name === params.name);
    if (row === undefined)
      throw noData(
        params.name,
        rows.map(({ name }) => name),
      );
    if (row.snapshot !== null) {
      const snapshot = await getSnapshot(lake, row.snapshot);
      const format = query.format ?? formatOf(row.to);
      return await sendSnapshot(request, reply, { lake, facts: deps.facts }, { snapshot, format, name: row.name });
    }
    const which = row.datasetVersion === null ? {} : { version: row.datasetVersion };
    const { contents, ...version } = await getDataset(lake, row.dataset ?? '', which);
    const answer = { dataset: version.name, version: version.version, digest: version.digest, files: contents };
    return fileHeaders(reply, { mediaType: 'application/json', filename: `${row.name}.json` }).send(
      JSON.stringify(answer),
    );
  });
}

/** What the stages saw, unless another format is asked for. */
function formatOf(to: string): RowFormat {
  if (to.endsWith('.csv')) return 'csv';
  return to.endsWith('.jsonl') ? 'jsonl' : 'parquet';
}

function noData(name: string, known: readonly string[]): DomainError {
  const found = known.length === 0 ? 'It was given none' : `It was given ${known.join(', ')}`;
  return new DomainError('not-found', `The run was given no data "${name.slice(0, 100)}". ${found}.`);
}
