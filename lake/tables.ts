// Looking at tables: which there are, what they are made of, and their first rows.
import { DomainError } from '#core/errors.ts';
import { didYouMean } from '#core/nearest.ts';
import {
  type SegmentRow,
  type TableSummary,
  findTable,
  listTableSummaries,
  newestSegments,
  segmentsAsOf,
  tableNames,
} from '#db/lake.ts';
import { resolveAsOf } from './as-of.ts';
import type { LakeColumn } from './column-types.ts';
import type { Lake } from './lake.ts';
import { cacheSegments } from './segment-cache.ts';

const segmentsShownMax = 1000;
const previewRowsMax = 1000;

export interface Table extends TableSummary {
  /** Newest first, at most 1,000. */
  newest: SegmentRow[];
}

export interface TablePreview {
  table: string;
  asOf: string;
  columns: LakeColumn[];
  /** In the order they were appended. Integers beyond 2^53, decimals and times are text. */
  rows: Array<Record<string, unknown>>;
  rowsTotal: number;
}

export function listTables(lake: Pick<Lake, 'db'>): Promise<TableSummary[]> {
  return listTableSummaries(lake.db);
}

export async function getTable(lake: Pick<Lake, 'db'>, name: string): Promise<Table> {
  const summaries = await listTableSummaries(lake.db);
  const summary = summaries.find((table) => table.name === name);
  if (summary === undefined)
    throw noSuchTable(
      name,
      summaries.map((table) => table.name),
    );
  return { ...summary, newest: await newestSegments(lake.db, name, segmentsShownMax) };
}

export async function previewTable(
  lake: Lake,
  { table, limit = 100, asOf = null }: { table: string; limit?: number; asOf?: string | null },
): Promise<TablePreview> {
  const resolved = await resolveAsOf(lake.db, asOf, async (tx, instant) => {
    if ((await findTable(tx, table)) === null) throw noSuchTable(table, await tableNames(tx));
    return { asOf: instant, segments: await segmentsAsOf(tx, [table], instant) };
  });
  const rowsMax = Math.min(Math.max(1, Math.trunc(limit)), previewRowsMax);
  const first = firstWith(resolved.segments, rowsMax);
  const rowsTotal = resolved.segments.reduce((sum, segment) => sum + segment.rows, 0);
  if (first.length === 0) return { table, asOf: resolved.asOf, columns: [], rows: [], rowsTotal };
  const files = await cacheSegments(
    lake.store,
    lake.engine.cacheDir,
    first.map(({ sha256 }) => sha256),
  );
  const preview = await lake.engine.work((session) => session.call('preview', { files, limit: rowsMax }));
  return { table, asOf: resolved.asOf, ...preview, rowsTotal };
}

/** Only as many segments as the rows need. */
function firstWith(segments: readonly SegmentRow[], rows: number): SegmentRow[] {
  let have = 0;
  return segments.filter((segment) => {
    const needed = have < rows;
    have += segment.rows;
    return needed;
  });
}

function noSuchTable(name: string, known: readonly string[]): DomainError {
  return new DomainError('table-not-found', `The lake has no table "${name.slice(0, 80)}".${didYouMean(name, known)}`);
}
