import type { FastifyInstance, FastifyReply } from 'fastify';
import type { LakeTable } from '#contract/lake.ts';
import { routes } from '#contract/routes.ts';
import type { ApiDeps } from '#api/deps.ts';
import { requestKey } from '#api/idempotency.ts';
import { pageOf, textCursor } from '#api/paging.ts';
import { serve } from '#api/serve.ts';
import { sendSnapshot } from '#api/snapshot-answer.ts';
import { withUploadedFile } from '#api/upload.ts';
import { recordAudit } from '#db/audit.ts';
import type { TableSummary } from '#db/lake.ts';
import { countSegments } from '#db/segment-number.ts';
import { appendSegment } from '#lake/append.ts';
import { getSnapshot } from '#lake/export.ts';
import type { Lake } from '#lake/lake.ts';
import { checkQuery, materialise } from '#lake/query.ts';
import { getTable, listTables, previewTable } from '#lake/tables.ts';

const commitsShownMax = 100;

export function lakeRoutes(app: FastifyInstance, deps: ApiDeps): void {
  const { db } = deps.connection;
  const lake: Lake = { db, store: deps.store, engine: deps.lakeEngine };

  serve(app, routes.listTables, async ({ query: { limit, cursor } }) => {
    const after = textCursor(cursor);
    const tables = (await listTables(lake)).filter(({ name }) => after === null || name > after);
    return pageOf(tables.map(tableView), limit, (table) => table.name);
  });

  serve(app, routes.getTable, async ({ params }) => {
    const table = await getTable(lake, params.table);
    const commits = table.newest.slice(0, commitsShownMax).map((segment, at) => {
      return { ...segment, seq: table.segments - at };
    });
    return { ...tableView(table), commits };
  });

  serve(app, routes.appendSegment, async ({ principal, params, query, request, reply }) => {
    const key = requestKey(request, null);
    const appended = await withUploadedFile(request, deps.facts, (file) =>
      appendSegment(lake, {
        table: params.table,
        source: { file },
        format: query.format,
        by: principal.owner,
        ...(key === null ? {} : { appendKey: `${key.tokenId} ${key.key}` }),
        signal: signalOf(reply),
      }),
    );
    const facts = { rows: appended.rows, sha256: appended.sha256, repeated: appended.repeated };
    await recordAudit(db, { actor: principal.owner, action: 'lake.append', target: params.table, facts });
    return { ...appended, seq: await countSegments(db, params.table, appended.committedAt) };
  });

  serve(app, routes.previewTable, async ({ params, query: { limit, asOf = null } }) => {
    return await previewTable(lake, { table: params.table, limit, asOf });
  });

  serve(app, routes.query, async ({ body: { asOf = null, ...query }, reply }) => {
    return await materialise(lake, { ...query, asOf, signal: signalOf(reply) });
  });

  serve(app, routes.checkQuery, async ({ body }) => await checkQuery(lake, body.query));

  serve(app, routes.getSnapshot, async ({ params }) => await getSnapshot(lake, params.id));

  serve(app, routes.getSnapshotContent, async ({ params, query: { format }, request, reply }) => {
    const snapshot = await getSnapshot(lake, params.id);
    const name = `snapshot-${snapshot.id}`;
    return await sendSnapshot(request, reply, { lake, facts: deps.facts }, { snapshot, format, name });
  });
}

/** A client that left does not need the rows any more. */
function signalOf(reply: FastifyReply): AbortSignal {
  const gone = new AbortController();
  reply.raw.once('close', () => gone.abort());
  return gone.signal;
}

function tableView({ lastCommittedAt, ...table }: TableSummary): LakeTable {
  return { ...table, lastCommitAt: lastCommittedAt };
}
