// The data of a run that is pinned to another's: of a reproduction, of a resumed run. They are the recorded ones or none.
import { canonicalJson } from '#core/canonical.ts';
import { DomainError } from '#core/errors.ts';
import type { DataSource, Params } from '#core/project.ts';
import { touchBlob } from '#db/blobs.ts';
import type { Database } from '#db/connect.ts';
import { listRunData, type RunData } from '#db/run-data.ts';
import type { LoadedRun } from '#db/run-facts.ts';
import { loadLabel } from '#db/run-label.ts';
import { findSnapshot, type SnapshotRow } from '#db/snapshots.ts';
import type { Lake } from '#lake/lake.ts';
import { chooseParameters } from '#lake/query.ts';
import { refetchDataset, refetchQuery } from '#lake/refetch.ts';
import { paramsOf, readQuery } from './query-text.ts';
import type { SourceCache } from './stage/source-cache.ts';

interface RefetchDeps {
  db: Database;
  lake: Lake;
  sources: SourceCache;
}

type Run = LoadedRun['run'];

/** The run whose data this one is pinned to, and what was recorded of them. */
export interface PinnedBefore {
  label: string;
  /** A reproduction reads everything again; a resumed run takes what was stored, where it asks as before. */
  isReproduced: boolean;
  rows: RunData[];
}

/** Null for a run that takes the data as they are at its as-of. */
export async function pinnedBefore(db: Database, { reproduces, resumedFrom }: Run): Promise<PinnedBefore | null> {
  const before = reproduces ?? resumedFrom;
  if (before === null) return null;
  return { label: await loadLabel(db, before), isReproduced: reproduces !== null, rows: await listRunData(db, before) };
}

/**
 * Answers what the source was pinned to before, once that is known to be had as it was recorded; null where the run asks
 * for something else than the one before it. @throws data-changed, data-gone
 */
export async function refetch(
  deps: RefetchDeps,
  run: Run,
  source: DataSource,
  before: PinnedBefore,
): Promise<RunData | null> {
  const row = before.rows.find(({ name }) => name === source.name);
  if (row === undefined && before.isReproduced) {
    throw new DomainError(
      'data-gone',
      `${before.label} has no record of the data ${source.name}: it ended before it read them. Submit a new run.`,
    );
  }
  if (row === undefined || !(before.isReproduced || (await asksTheSame(deps, run, source, row)))) return null;
  if (before.isReproduced) await reread(deps, run, source, row, before.label);
  else await requireReadable(deps, run, source, row);
  return row;
}

async function asksTheSame(deps: RefetchDeps, run: Run, source: DataSource, row: RunData): Promise<boolean> {
  const query = source.kind === 'query' ? await readQuery(deps, run, source.query) : null;
  return (await answerBefore(deps.lake, { asOf: run.asOf, params: paramsOf(run), query }, source, row)) !== null;
}

/** A source as a run asks for it; `query` is the text of one. */
export interface AskedData {
  asOf: string;
  params: Record<string, unknown>;
  query: string | null;
}

/** What was pinned before, with its snapshot if it is a query's, when the same is asked for; else null. */
export async function answerBefore(
  lake: Pick<Lake, 'db' | 'engine'>,
  { asOf, params, query }: AskedData,
  source: DataSource,
  row: RunData,
): Promise<{ row: RunData; snapshot: SnapshotRow | null } | null> {
  if (row.asOf !== asOf) return null;
  if (source.kind === 'dataset') return row.datasetName === source.dataset ? { row, snapshot: null } : null;
  if (row.snapshotId === null || query === null) return null;
  const snapshot = await requireSnapshot(lake, row);
  const [then, now] = await Promise.all([snapshot.query, query].map((text) => lake.engine.inspect(text)));
  if (then?.canonical !== now?.canonical || now === undefined) return null;
  const isSame = canonicalJson(chooseParameters(now, params) as Params) === canonicalJson(snapshot.params as Params);
  return isSame ? { row, snapshot } : null;
}

/**
 * What was read earlier is stored, or is made again from the segments it was made from. Its bytes are verified where
 * they are used. @throws data-changed, data-gone
 */
export async function requireReadable(deps: RefetchDeps, run: Run, source: DataSource, row: RunData): Promise<void> {
  const isStored =
    row.datasetName === null &&
    (await touchBlob(deps.db, row.digest)) &&
    (await deps.lake.store.stat(row.digest)) !== null;
  if (!isStored) await reread(deps, run, source, row, await loadLabel(deps.db, row.runId));
}

async function reread(deps: RefetchDeps, run: Run, source: DataSource, row: RunData, label: string): Promise<void> {
  const { name, facts, digest } = row;
  if (source.kind === 'dataset') {
    const { datasetName, datasetVersion } = row;
    const pinned = { dataset: datasetName ?? '', version: datasetVersion ?? 0, files: Number(facts.files), digest };
    await refetchDataset(deps.lake, { name, run: label, ...pinned });
    return;
  }
  await refetchQuery(deps.lake, {
    name,
    run: label,
    query: await readQuery(deps, run, source.query),
    params: paramsOf(run),
    snapshot: await requireSnapshot(deps, row),
    expected: { sha256: digest, unorderedDigest: String(facts.unorderedDigest), rows: Number(facts.rows) },
  });
}

async function requireSnapshot({ db }: { db: Database }, { name, snapshotId }: RunData): Promise<SnapshotRow> {
  const snapshot = snapshotId === null ? null : await findSnapshot(db, snapshotId);
  if (snapshot !== null) return snapshot;
  throw new DomainError(
    'data-gone',
    `The data ${name} were recorded without a snapshot, so they can not be read again.`,
  );
}
