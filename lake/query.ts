// From a query to a snapshot: judged, pinned to segments at one as-of, run in a process of its own, stored by its hash.
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { canonicalJson } from '#core/canonical.ts';
import { DomainError } from '#core/errors.ts';
import { nearest } from '#core/nearest.ts';
import { touchBlob } from '#db/blobs.ts';
import { type SegmentRow, segmentsAsOf, tableNames } from '#db/lake.ts';
import { type SnapshotRow, findSnapshotByKey, saveSnapshot } from '#db/snapshots.ts';
import { keepBlob } from '#storage/keep.ts';
import { resolveAsOf } from './as-of.ts';
import type { Operations, ParameterValue, TableFiles } from './engine/operations.ts';
import type { Lake } from './lake.ts';
import { cacheSegments } from './segment-cache.ts';

export interface LakeQuery {
  query: string;
  /** Values for `$name`; what the query does not name is not looked at. */
  params?: Record<string, unknown>;
  /** ISO 8601; null is now. */
  asOf: string | null;
  /** Exactly these segments instead of those at the as-of: what a reproduction pins. */
  segments?: ReadonlyArray<{ table: string; sha256: string }>;
  signal?: AbortSignal;
}

/** What a query will read, before it reads. Equal keys mean equal snapshots. */
export interface SnapshotPlan {
  snapshotKey: string;
  asOf: string;
  usesAsOf: boolean;
  engine: string;
  segments: Array<{ table: string; sha256: string }>;
  params: Record<string, ParameterValue>;
}

export interface QueryCheck {
  tables: string[];
  /** Parameters the query needs beside `$as_of`. */
  parameters: string[];
  usesAsOf: boolean;
  /** Tables the lake does not have yet. */
  missingTables: string[];
}

export interface Snapshot extends SnapshotRow {
  /** The rows were materialised before; nothing was run. */
  hit: boolean;
}

/**
 * The rows of a query at one as-of, in one order, as Parquet in the blob store. Refuses with `query-refused`,
 * `query-limit`, `table-not-found`, `as-of-in-future`. Asked again with an equal key, the stored snapshot answers.
 */
export async function materialise(lake: Lake, query: LakeQuery): Promise<Snapshot> {
  const plan = await planSnapshot(lake, query);
  const known = await findSnapshotByKey(lake.db, plan.snapshotKey);
  if (known !== null && (await touchBlob(lake.db, known.sha256))) return { ...known, hit: true };
  const tables = await localTables(lake, plan);
  return lake.engine.work(async (session) => {
    const out = join(session.directory, 'result.parquet');
    const { params: parameters, asOf } = plan;
    const result = await session.call('materialise', { query: query.query, tables, parameters, asOf, out });
    const blob = await keepBlob(lake.db, lake.store, { file: out, adopt: true });
    const saved = await saveSnapshot(lake.db, {
      snapshotKey: plan.snapshotKey,
      query: query.query,
      params: plan.params,
      asOf: plan.asOf,
      segments: plan.segments,
      engine: plan.engine,
      sha256: blob.sha256,
      sizeBytes: blob.sizeBytes,
      rows: result.rows,
      columns: result.columns,
      orderedDigest: blob.sha256,
      unorderedDigest: result.unorderedDigest,
      profile: result.profile,
    });
    return { ...saved, hit: false };
  }, withSignal(query));
}

/** Whether a query would be accepted. Missing tables are told, not refused, because they may be filled before the run. */
export async function checkQuery(lake: Pick<Lake, 'db' | 'engine'>, query: string): Promise<QueryCheck> {
  const facts = await lake.engine.inspect(query);
  const known = new Set(await tableNames(lake.db));
  return {
    tables: facts.tables,
    parameters: facts.parameters.filter((name) => name !== 'as_of'),
    usesAsOf: facts.parameters.includes('as_of'),
    missingTables: facts.tables.filter((name) => !known.has(name.toLowerCase())),
  };
}

function withSignal({ signal }: LakeQuery): { signal?: AbortSignal } {
  return signal === undefined ? {} : { signal };
}

/** The key and the segments, without running anything: what load-data's step key is made of. */
export async function planSnapshot(lake: Pick<Lake, 'db' | 'engine'>, query: LakeQuery): Promise<SnapshotPlan> {
  const facts = await lake.engine.inspect(query.query, withSignal(query));
  const params = chooseParameters(facts, query.params ?? {});
  const tables = facts.tables.map((name) => name.toLowerCase());
  const pinned = query.segments;
  const { asOf, segments } = await resolveAsOf(lake.db, query.asOf, async (tx, instant) => {
    if (pinned !== undefined) return { asOf: instant, segments: [...pinned] };
    requireTables(await tableNames(tx), tables);
    const found = await segmentsAsOf(tx, tables, instant);
    requireSegments(tables, found, instant);
    return { asOf: instant, segments: found.map(({ table, sha256 }) => ({ table, sha256 })) };
  });
  requirePinned(tables, segments);
  const usesAsOf = facts.parameters.includes('as_of');
  const identity = { query: facts.canonical, params, segments, engine: facts.engine, ...(usesAsOf ? { asOf } : {}) };
  const snapshotKey = createHash('sha256').update(canonicalJson(identity)).digest('hex');
  return { snapshotKey, asOf, usesAsOf, engine: facts.engine, segments, params };
}

export function chooseParameters(
  facts: Operations['inspect']['answer'],
  given: Record<string, unknown>,
): Record<string, ParameterValue> {
  const names = facts.parameters.filter((name) => name !== 'as_of');
  return Object.fromEntries(names.map((name) => [name, requireParameter(name, given)]));
}

function requireParameter(name: string, given: Record<string, unknown>): ParameterValue {
  if (!Object.hasOwn(given, name)) {
    const known = ['as_of', ...Object.keys(given)];
    const suggestion = nearest(name, known);
    throw new DomainError(
      'query-refused',
      `The query needs $${name}, which is no parameter. ${suggestion === null ? `Known are ${known.map((one) => `$${one}`).join(', ')}.` : `Did you mean $${suggestion}?`}`,
    );
  }
  const value = given[name];
  const isScalar = value === null || ['string', 'boolean'].includes(typeof value) || Number.isFinite(value);
  if (isScalar) return value as ParameterValue;
  throw new DomainError(
    'query-refused',
    `The parameter $${name} is ${JSON.stringify(value)?.slice(0, 80)}. A query takes texts, numbers, booleans and null.`,
  );
}

function requireTables(known: readonly string[], tables: readonly string[]): void {
  for (const table of tables) {
    if (known.includes(table)) continue;
    const suggestion = nearest(table, known);
    const help =
      suggestion !== null
        ? `Did you mean "${suggestion}"?`
        : known.length === 0
          ? 'The lake has no tables yet; append a file first.'
          : `The lake has ${known.slice(0, 10).join(', ')}${known.length > 10 ? ' …' : ''}.`;
    throw new DomainError('table-not-found', `The lake has no table "${table}". ${help}`);
  }
}

/** An empty table would be trained on without a word; that it is empty then is more likely a wrong as-of. */
function requireSegments(tables: readonly string[], segments: readonly SegmentRow[], asOf: string): void {
  const empty = tables.find((table) => !segments.some((segment) => segment.table === table));
  if (empty === undefined) return;
  throw new DomainError(
    'table-not-found',
    `The table "${empty}" had no rows yet at ${asOf}: everything in it was appended later. Use a later as-of.`,
  );
}

function requirePinned(tables: readonly string[], segments: ReadonlyArray<{ table: string }>): void {
  const missing = tables.find((table) => !segments.some((segment) => segment.table === table));
  if (missing === undefined) return;
  throw new DomainError(
    'table-not-found',
    `The pinned segments hold none of table "${missing}", which the query reads.`,
  );
}

async function localTables(lake: Lake, plan: SnapshotPlan): Promise<TableFiles[]> {
  const sha256s = plan.segments.map((segment) => segment.sha256);
  const paths = await cacheSegments(lake.store, lake.engine.cacheDir, sha256s);
  return filesByTable(plan.segments, (_, index) => paths[index] as string);
}

/** The segments' local files as the engine takes them, each table's oldest first. */
export function filesByTable(
  segments: SnapshotPlan['segments'],
  pathOf: (segment: { sha256: string }, index: number) => string,
): TableFiles[] {
  const files = segments.map((segment, index) => ({ table: segment.table, path: pathOf(segment, index) }));
  const byTable = Map.groupBy(files, ({ table }) => table);
  return [...byTable].map(([name, group]) => ({ name, files: group.map(({ path }) => path) }));
}
