// The data guard: what a run was pinned to is read again, from what the lake holds now, and compared with what was
// recorded. Nothing that was kept of the earlier reading is believed, neither a stored result nor a local copy.
import { join } from 'node:path';
import { DomainError, type ErrorDetail } from '#core/errors.ts';
import { missingBlobs } from '#db/blobs.ts';
import { filesOf, findVersion } from '#db/datasets.ts';
import { type SegmentRow, segmentsAsOf, segmentsBySha256 } from '#db/lake.ts';
import type { SnapshotRow } from '#db/snapshots.ts';
import { hashFile } from '#storage/bytes.ts';
import { keepBlob } from '#storage/keep.ts';
import { digestOf } from './datasets.ts';
import type { EngineSession } from './engine/engine.ts';
import type { Lake } from './lake.ts';
import { mapLimited } from './map-limited.ts';
import { chooseParameters, filesByTable } from './query.ts';
import { refreshSegments } from './segment-cache.ts';

const detailsMax = 50;
const statsAtOnce = 16;

/** What was recorded with the run when its data were read. */
export interface RecordedRows {
  /** Of the Parquet file: the ordered digest. */
  sha256: string;
  unorderedDigest: string;
  rows: number;
}

export interface PinnedQuery {
  /** The data's name in the project, and the run that they were recorded for: for messages. */
  name: string;
  run: string;
  query: string;
  params: Record<string, unknown>;
  /** Holds the list of segments and the as-of. */
  snapshot: SnapshotRow;
  expected: RecordedRows;
}

type Segments = SnapshotRow['segments'];

/** What a query gave when it was run again. */
interface Reread extends RecordedRows {
  /** It is compared with: equal to what was recorded, unless that was written by another engine. */
  expected: RecordedRows;
}

/**
 * Runs the query again over the very segments that it was run over, and where the lake's own history names others now,
 * over those too. Answers the engine when everything is as it was recorded; the stored snapshot is then intact again.
 *
 * @throws data-gone, naming every segment that is gone or damaged; data-changed, with both hashes and numbers of rows.
 */
export async function refetchQuery(lake: Lake, pinned: PinnedQuery): Promise<{ engine: string }> {
  const { snapshot } = pinned;
  const tables = [...new Set(snapshot.segments.map(({ table }) => table))];
  const history = await segmentsAsOf(lake.db, tables, snapshot.asOf);
  const facts = await lake.engine.inspect(pinned.query);
  const parameters = chooseParameters(facts, pinned.params);
  const reread = async (segments: Segments) => {
    const files = filesByTable(segments, pathsOf(await freshCopies(lake, pinned, segments)));
    return await lake.engine.work(async (session) => {
      const out = join(session.directory, 'result.parquet');
      const args = { query: pinned.query, tables: files, parameters, asOf: snapshot.asOf, out };
      const { rows, unorderedDigest } = await session.call('materialise', args);
      const found = { sha256: (await hashFile(out)).sha256, unorderedDigest, rows };
      const expected =
        facts.engine === snapshot.engine ? pinned.expected : await rewritten(lake, session, pinned, facts.engine);
      if (found.sha256 === pinned.expected.sha256) await keepBlob(lake.db, lake.store, { file: out, adopt: true });
      return { ...found, expected };
    });
  };
  requireEqual(pinned, await reread(snapshot.segments), []);
  const changes = changesOf(snapshot.segments, history);
  if (changes.length > 0) {
    const now = history.map(({ table, sha256 }) => ({ table, sha256 }));
    requireEqual(pinned, await reread(now), changes);
  }
  return { engine: facts.engine };
}

/** Hashes belong to an engine version (decision 0016), so what an earlier one wrote is written again by this one. */
async function rewritten(
  lake: Lake,
  session: EngineSession,
  { name, run, snapshot, expected }: PinnedQuery,
  engine: string,
): Promise<RecordedRows> {
  const file = join(session.directory, 'before.parquet');
  const out = join(session.directory, 'before-rewritten.parquet');
  try {
    await lake.store.copyTo(expected.sha256, file);
  } catch (error) {
    if (!(error instanceof DomainError)) throw error;
    throw new DomainError(
      'data-gone',
      `The data ${name} of ${run} can not be compared: they were read by ${snapshot.engine}, this is ${engine}, and the stored rows are needed to tell. ${error.message}`,
    );
  }
  const { rows, unorderedDigest } = await session.call('rewrite', { file, out });
  return { sha256: (await hashFile(out)).sha256, unorderedDigest, rows };
}

type Copies = Awaited<ReturnType<typeof refreshSegments>>;

function pathsOf(copies: Copies): (segment: { sha256: string }) => string {
  const paths = new Map(copies.map(({ sha256, path }) => [sha256, path]));
  return ({ sha256 }) => paths.get(sha256) ?? '';
}

async function freshCopies(lake: Lake, { name, run }: PinnedQuery, segments: Segments): Promise<Copies> {
  const copies = await refreshSegments(
    lake.store,
    lake.engine.cacheDir,
    segments.map(({ sha256 }) => sha256),
  );
  const bad = copies.filter(({ problem }) => problem !== null);
  if (bad.length === 0) return copies;
  const rows = await segmentsBySha256(
    lake.db,
    bad.map(({ sha256 }) => sha256),
  );
  const details = bad.map(({ sha256, problem }) => {
    const table = segments.find((segment) => segment.sha256 === sha256)?.table ?? '';
    const row = rows.find((one) => one.sha256 === sha256 && one.table === table);
    const state = problem?.code === 'blob-missing' ? 'is gone' : 'is damaged';
    return { path: sha256, message: `segment ${sha256} of table ${table}${appended(row)} ${state}` };
  });
  throw new DomainError(
    'data-gone',
    `The data ${name} of ${run} can not be read again: ${some(details)}. Restore that object from a backup, or append the file it came from to another table: equal rows are the same object.`,
    details.slice(0, detailsMax),
  );
}

function appended(row: SegmentRow | undefined): string {
  return row === undefined ? '' : ` (${row.rows} rows, appended ${row.committedAt} by ${row.committedBy})`;
}

function some(details: readonly ErrorDetail[]): string {
  const more = details.length > 1 ? `, and ${details.length - 1} more` : '';
  return `${details[0]?.message ?? ''}${more}`;
}

/** How the lake's history of today differs from the list that was recorded; nothing ever changes it by right. */
function changesOf(recorded: Segments, history: readonly SegmentRow[]): ErrorDetail[] {
  const id = ({ table, sha256 }: Segments[number]) => `${table} ${sha256}`;
  const [then, now] = [new Set(recorded.map(id)), new Set(history.map(id))];
  const lost = recorded.filter((segment) => !now.has(id(segment)));
  const come = history.filter((segment) => !then.has(id(segment)));
  const details = [
    ...lost.map(({ table, sha256 }) => ({
      path: sha256,
      message: `segment ${sha256} of table ${table} is not in the lake's history any more`,
    })),
    ...come.map((row) => ({
      path: row.sha256,
      message: `segment ${row.sha256} of table ${row.table}${appended(row)} was not there`,
    })),
  ];
  const isMoved = details.length === 0 && recorded.some((segment, at) => id(segment) !== id(history[at] ?? segment));
  return isMoved ? [{ path: 'order', message: "the segments' order in the lake's history is another one" }] : details;
}

/** @throws data-changed */
function requireEqual({ name, run }: PinnedQuery, found: Reread, changes: readonly ErrorDetail[]): void {
  const { expected } = found;
  if (found.sha256 === expected.sha256) return;
  const isSameRows = found.unorderedDigest === expected.unorderedDigest && found.rows === expected.rows;
  const how = isSameRows
    ? 'They are the same rows in another order'
    : 'They are other rows, not the same in another order';
  const why = changes.length === 0 ? '' : ` Since then ${some(changes)}.`;
  throw new DomainError(
    'data-changed',
    `The data ${name} are not what ${run} read: expected ${expected.rows} rows with sha256 ${expected.sha256}, found ${found.rows} rows with ${found.sha256}. ${how}.${why} Restore the lake from a backup, or submit a new run, which takes the data as they are.`,
    [
      {
        path: 'expected',
        message: `${expected.rows} rows, ${expected.sha256}, in any order ${expected.unorderedDigest}`,
      },
      { path: 'found', message: `${found.rows} rows, ${found.sha256}, in any order ${found.unorderedDigest}` },
      ...changes.slice(0, detailsMax),
    ],
  );
}

export interface PinnedDataset {
  name: string;
  run: string;
  dataset: string;
  version: number;
  digest: string;
  /** As they were recorded. */
  files: number;
}

/**
 * Reads the version's list of files again and looks for each file. Their bytes are verified where they are used.
 * @throws data-gone, naming every file that is gone; data-changed, with both digests and numbers of files.
 */
export async function refetchDataset(lake: Pick<Lake, 'db' | 'store'>, pinned: PinnedDataset): Promise<void> {
  const { name, run, dataset, version } = pinned;
  const contents = await filesOf(lake.db, dataset, version);
  if (contents.length === 0 || (await findVersion(lake.db, dataset, version)) === null) {
    throw new DomainError(
      'data-gone',
      `The data ${name} of ${run} can not be read again: the dataset ${dataset} has no version ${version} any more. Restore the database from a backup, or submit a new run.`,
    );
  }
  const found = digestOf(contents);
  if (found !== pinned.digest) {
    throw new DomainError(
      'data-changed',
      `The data ${name} are not what ${run} read: expected ${pinned.files} files of dataset ${dataset} version ${version} with digest ${pinned.digest}, found ${contents.length} with ${found}. Restore the database from a backup, or submit a new run, which takes the data as they are.`,
      [
        { path: 'expected', message: `${pinned.files} files, ${pinned.digest}` },
        { path: 'found', message: `${contents.length} files, ${found}` },
      ],
    );
  }
  const digests = [...new Set(contents.map(({ sha256 }) => sha256))];
  const gone = new Set(await missingBlobs(lake.db, digests));
  const sizes = new Map(contents.map((file) => [file.sha256, file.sizeBytes]));
  await mapLimited([...sizes], statsAtOnce, async ([sha256, sizeBytes]) => {
    if ((await lake.store.stat(sha256))?.sizeBytes !== sizeBytes) gone.add(sha256);
  });
  const lost = contents.filter(({ sha256 }) => gone.has(sha256));
  if (lost.length === 0) return;
  const details = lost.map(({ path, sha256 }) => ({ path, message: `${path} (${sha256}) is gone or damaged` }));
  throw new DomainError(
    'data-gone',
    `The data ${name} of ${run} can not be read again: of dataset ${dataset} version ${version} ${some(details)}. Add the same folder again with \`assay data add\`, or restore the files from a backup.`,
    details.slice(0, detailsMax),
  );
}
