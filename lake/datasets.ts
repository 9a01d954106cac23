// Datasets: folders given to the lake, as numbered lists of files. The files are blobs, stored before the list.
import { createHash } from 'node:crypto';
import { mkdir, realpath } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { DomainError } from '#core/errors.ts';
import { didYouMean } from '#core/nearest.ts';
import { lockLiveBlobs } from '#db/blobs.ts';
import type { Queryable } from '#db/connect.ts';
import {
  type DatasetFileRow,
  type DatasetVersionRow,
  filesOf,
  findVersion,
  insertDatasetFiles,
  insertDatasetVersion,
  listNewestVersions,
  listVersions,
  lockDataset,
  newestVersion,
  versionAsOf,
} from '#db/datasets.ts';
import { requireSha256 } from '#storage/blob-store.ts';
import { resolveAsOf, withAppendLock } from './as-of.ts';
import type { Lake } from './lake.ts';
import { mapLimited } from './map-limited.ts';
import { requireDatasetName, requireFilePath } from './names.ts';

const filesMax = 1_000_000;
/** Rows of one statement. */
const batchRows = 10_000;
const copiesMax = 8;

/** One of the two; neither is the newest version now. */
export interface WhichVersion {
  version?: number;
  asOf?: string | null;
}

export interface DatasetVersion extends DatasetVersionRow {
  /** The files were those of the newest version already: nothing was added. */
  unchanged: boolean;
}

export interface Dataset extends DatasetVersionRow {
  contents: DatasetFileRow[];
}

/**
 * Adds a version. Refuses with `blob-missing` and one detail per digest that is not stored yet, so that a client uploads
 * only those. The same files again are the same version.
 */
export async function createDatasetVersion(
  lake: Pick<Lake, 'db'>,
  { name, files, by }: { name: string; files: readonly DatasetFileRow[]; by: string },
): Promise<DatasetVersion> {
  requireDatasetName(name);
  const sorted = checkFiles(files);
  const digest = digestOf(sorted);
  return lake.db.transaction(async (tx) => {
    await lockDataset(tx, name, by);
    const newest = await newestVersion(tx, name);
    if (newest?.digest === digest) return { ...newest, unchanged: true };
    const sizes = await lockLiveBlobs(tx, [...new Set(sorted.map((file) => file.sha256))].sort());
    checkSizes(sorted, sizes);
    const version = (newest?.version ?? 0) + 1;
    for (let start = 0; start < sorted.length; start += batchRows) {
      await insertDatasetFiles(tx, { name, version }, sorted.slice(start, start + batchRows));
    }
    // Last, so that everybody else waits for one row and not for a million.
    return withAppendLock(tx, async (committedAt) => {
      const sizeBytes = sorted.reduce((sum, file) => sum + file.sizeBytes, 0);
      const row = { name, version, digest, files: sorted.length, sizeBytes, committedAt, committedBy: by };
      await insertDatasetVersion(tx, row);
      return { ...row, unchanged: false };
    });
  });
}

/** The newest version of every dataset. */
export function listDatasets(lake: Pick<Lake, 'db'>): Promise<DatasetVersionRow[]> {
  return listNewestVersions(lake.db);
}

/** Newest first. Refuses with `dataset-not-found`. */
export async function listDatasetVersions(lake: Pick<Lake, 'db'>, name: string): Promise<DatasetVersionRow[]> {
  const versions = await listVersions(lake.db, name);
  if (versions.length === 0) throw await noSuchDataset(lake.db, name);
  return versions;
}

/** A version without its list of files. Refuses with `dataset-not-found`, `as-of-in-future`. */
export function resolveDataset(
  lake: Pick<Lake, 'db'>,
  name: string,
  { version, asOf = null }: WhichVersion = {},
): Promise<DatasetVersionRow & { asOf: string }> {
  return resolveAsOf(lake.db, asOf, async (tx, instant) => {
    const found = version === undefined ? await versionAsOf(tx, name, instant) : await findVersion(tx, name, version);
    if (found !== null) return { ...found, asOf: instant };
    const newest = await newestVersion(tx, name);
    if (newest === null) throw await noSuchDataset(tx, name);
    throw noSuchVersion(name, newest, version, instant);
  });
}

export async function getDataset(lake: Pick<Lake, 'db'>, name: string, which: WhichVersion = {}): Promise<Dataset> {
  const version = await resolveDataset(lake, name, which);
  return { ...version, contents: await filesOf(lake.db, name, version.version) };
}

/** Writes the files below `destDir`, each a private, verified copy. What else lies there stays. */
export async function materialiseDataset(
  lake: Pick<Lake, 'db' | 'store'>,
  { name, destDir, signal, ...which }: WhichVersion & { name: string; destDir: string; signal?: AbortSignal },
): Promise<DatasetVersionRow> {
  const { contents, ...version } = await getDataset(lake, name, which);
  await mkdir(destDir, { recursive: true });
  const root = await realpath(destDir);
  const folders = foldersOf(contents.map((file) => requireFilePath(file.path)));
  // Parents come first, so that each is known to be inside before anything is made in it.
  for (const folder of [...folders].sort()) await makeBelow(root, join(destDir, folder));
  await mapLimited(contents, copiesMax, (file) => {
    signal?.throwIfAborted();
    return lake.store.copyTo(file.sha256, join(destDir, file.path));
  });
  return version;
}

/** A link that lies in `destDir` already, such as one of a commit, must not lead the files elsewhere. */
async function makeBelow(root: string, directory: string): Promise<void> {
  await mkdir(directory, { recursive: true });
  const real = await realpath(directory);
  if (real === root || real.startsWith(`${root}${sep}`)) return;
  throw invalid(`${JSON.stringify(directory)} is a link out of the folder the dataset is written to. Remove the link.`);
}

/** Sorted by path in byte order. Two files at one place, or a file where another needs a folder, are refused. */
function checkFiles(files: readonly DatasetFileRow[]): DatasetFileRow[] {
  if (files.length === 0) throw invalid('The dataset has no files. Name at least one.');
  if (files.length > filesMax)
    throw invalid(`The dataset has ${files.length} files; up to ${filesMax} are taken. Pack them.`);
  const paths = new Set<string>();
  for (const file of files) {
    requireSha256(file.sha256);
    if (paths.has(requireFilePath(file.path))) throw invalid(`The path ${JSON.stringify(file.path)} is named twice.`);
    paths.add(file.path);
  }
  const folders = foldersOf(paths);
  for (const path of paths) {
    if (folders.has(path)) throw invalid(`The path ${JSON.stringify(path)} is both a file and a folder.`);
  }
  return files.toSorted((a, b) => Buffer.compare(Buffer.from(a.path), Buffer.from(b.path)));
}

/** Every folder that the paths lie in, at any depth. */
function foldersOf(paths: Iterable<string>): Set<string> {
  const folders = new Set<string>();
  for (const path of paths) {
    for (let at = path.indexOf('/'); at !== -1; at = path.indexOf('/', at + 1)) folders.add(path.slice(0, at));
  }
  return folders;
}

function checkSizes(files: readonly DatasetFileRow[], sizes: ReadonlyMap<string, number>): void {
  for (const file of files) {
    const stored = sizes.get(file.sha256);
    if (stored !== file.sizeBytes) {
      throw invalid(`${JSON.stringify(file.path)} is said to have ${file.sizeBytes} bytes; its blob has ${stored}.`);
    }
  }
}

/** The version's identity: one line of JSON per file, so that no path can imitate another file's line. */
export function digestOf(files: readonly DatasetFileRow[]): string {
  const hash = createHash('sha256');
  for (const { path, sizeBytes, sha256 } of files) hash.update(`${JSON.stringify([path, sizeBytes, sha256])}\n`);
  return hash.digest('hex');
}

async function noSuchDataset(db: Queryable, name: string): Promise<DomainError> {
  const known = await listNewestVersions(db);
  const suggestion = didYouMean(
    name,
    known.map((dataset) => dataset.name),
  );
  return new DomainError(
    'dataset-not-found',
    `There is no dataset "${name.slice(0, 80)}".${suggestion === '' ? ' Give it to Assay with: assay data add NAME FOLDER' : suggestion}`,
  );
}

function noSuchVersion(
  name: string,
  newest: DatasetVersionRow,
  version: number | undefined,
  asOf: string,
): DomainError {
  return new DomainError(
    'dataset-not-found',
    version === undefined
      ? `The dataset "${name}" did not exist yet at ${asOf}. Use a later as-of.`
      : `The dataset "${name}" has no version ${version}; its newest is ${newest.version}.`,
  );
}

function invalid(message: string): DomainError {
  return new DomainError('invalid-request', message);
}
