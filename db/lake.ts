// Tables of the lake and their segments. Rows here are only ever added.
import { and, asc, count, desc, eq, inArray, lte, max, sql, sum } from 'drizzle-orm';
import type { Queryable, Transaction } from './connect.ts';
import { isoInstant } from './instants.ts';
import { type LakeColumn, lakeSegments, lakeTables } from './schema/lake.ts';

export interface TableRow {
  name: string;
  columns: LakeColumn[];
  createdBy: string;
  createdAt: string;
}

export interface TableSummary extends TableRow {
  segments: number;
  rows: number;
  sizeBytes: number;
  lastCommittedAt: string;
}

export interface SegmentRow {
  table: string;
  sha256: string;
  rows: number;
  sizeBytes: number;
  columns: LakeColumn[];
  committedAt: string;
  committedBy: string;
}

const tableFields = {
  name: lakeTables.name,
  columns: lakeTables.columns,
  createdBy: lakeTables.createdBy,
  createdAt: isoInstant(lakeTables.createdAt),
};

const segmentFields = {
  table: lakeSegments.tableName,
  sha256: lakeSegments.sha256,
  rows: lakeSegments.rows,
  sizeBytes: lakeSegments.sizeBytes,
  columns: lakeSegments.columns,
  committedAt: isoInstant(lakeSegments.committedAt),
  committedBy: lakeSegments.committedBy,
};

export async function findTable(db: Queryable, name: string): Promise<TableRow | null> {
  const [row] = await db.select(tableFields).from(lakeTables).where(eq(lakeTables.name, name));
  return row ?? null;
}

/** By name, with what their segments add up to. */
export function listTableSummaries(db: Queryable): Promise<TableSummary[]> {
  return db
    .select({
      ...tableFields,
      segments: count(),
      rows: sum(lakeSegments.rows).mapWith(Number),
      sizeBytes: sum(lakeSegments.sizeBytes).mapWith(Number),
      lastCommittedAt: isoInstant(max(lakeSegments.committedAt)),
    })
    .from(lakeTables)
    .innerJoin(lakeSegments, eq(lakeSegments.tableName, lakeTables.name))
    .groupBy(lakeTables.name)
    .orderBy(asc(lakeTables.name));
}

export async function tableNames(db: Queryable): Promise<string[]> {
  const rows = await db.select({ name: lakeTables.name }).from(lakeTables).orderBy(asc(lakeTables.name));
  return rows.map((row) => row.name);
}

/** The segments of these tables that were committed up to the instant, oldest first. */
export function segmentsAsOf(db: Queryable, tables: readonly string[], asOf: string): Promise<SegmentRow[]> {
  return db
    .select(segmentFields)
    .from(lakeSegments)
    .where(and(inArray(lakeSegments.tableName, [...tables]), lte(lakeSegments.committedAt, sql`${asOf}::timestamptz`)))
    .orderBy(asc(lakeSegments.seq));
}

/** Equal segments may have been appended more than once, also to several tables. */
export function segmentsBySha256(db: Queryable, sha256s: readonly string[]): Promise<SegmentRow[]> {
  return db
    .select(segmentFields)
    .from(lakeSegments)
    .where(inArray(lakeSegments.sha256, [...sha256s]))
    .orderBy(asc(lakeSegments.seq));
}

/** Newest first. */
export function newestSegments(db: Queryable, table: string, limit: number): Promise<SegmentRow[]> {
  return db
    .select(segmentFields)
    .from(lakeSegments)
    .where(eq(lakeSegments.tableName, table))
    .orderBy(desc(lakeSegments.seq))
    .limit(limit);
}

export async function findSegmentByKey(db: Queryable, appendKey: string): Promise<SegmentRow | null> {
  const [row] = await db.select(segmentFields).from(lakeSegments).where(eq(lakeSegments.appendKey, appendKey));
  return row ?? null;
}

export interface NewSegment extends SegmentRow {
  appendKey: string | null;
}

/** Called under the lake's append lock, so that commit times only grow. */
export async function insertSegment(tx: Transaction, { table, ...segment }: NewSegment): Promise<void> {
  await tx.insert(lakeSegments).values({ tableName: table, ...segment });
}

/** Creates the table or widens it; called under the append lock, which makes reading before writing safe. */
export async function saveTable(
  tx: Transaction,
  table: { name: string; columns: LakeColumn[]; createdBy: string },
): Promise<void> {
  await tx
    .insert(lakeTables)
    .values(table)
    .onConflictDoUpdate({ target: lakeTables.name, set: { columns: table.columns } });
}
