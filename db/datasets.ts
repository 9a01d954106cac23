// Datasets and their versions. Rows here are only ever added.
import { and, asc, desc, eq, lte, sql } from 'drizzle-orm';
import type { Queryable, Transaction } from './connect.ts';
import { isoInstant } from './instants.ts';
import { datasetFiles, datasetVersions, datasets } from './schema/lake.ts';

export interface DatasetVersionRow {
  name: string;
  version: number;
  digest: string;
  files: number;
  sizeBytes: number;
  committedAt: string;
  committedBy: string;
}

export interface DatasetFileRow {
  path: string;
  sizeBytes: number;
  sha256: string;
}

const versionFields = {
  name: datasetVersions.datasetName,
  version: datasetVersions.version,
  digest: datasetVersions.digest,
  files: datasetVersions.files,
  sizeBytes: datasetVersions.sizeBytes,
  committedAt: isoInstant(datasetVersions.committedAt),
  committedBy: datasetVersions.committedBy,
};

/** Creates the dataset when it is new. Until the transaction ends nobody else adds a version to it. */
export async function lockDataset(tx: Transaction, name: string, createdBy: string): Promise<void> {
  await tx.insert(datasets).values({ name, createdBy }).onConflictDoNothing();
  await tx.select({ name: datasets.name }).from(datasets).where(eq(datasets.name, name)).for('update');
}

export async function insertDatasetFiles(
  tx: Transaction,
  { name, version }: { name: string; version: number },
  files: readonly DatasetFileRow[],
): Promise<void> {
  await tx.execute(sql`
    insert into dataset_files (dataset_name, version, path, size_bytes, sha256)
    select ${name}, ${version}::integer, file.path, file."sizeBytes", file.sha256
    from jsonb_to_recordset(${JSON.stringify(files)}::jsonb) as file(path text, "sizeBytes" bigint, sha256 text)`);
}

export async function insertDatasetVersion(tx: Transaction, { name, ...version }: DatasetVersionRow): Promise<void> {
  await tx.insert(datasetVersions).values({ datasetName: name, ...version });
}

/** The newest version of every dataset, by name. */
export function listNewestVersions(db: Queryable): Promise<DatasetVersionRow[]> {
  return db
    .selectDistinctOn([datasetVersions.datasetName], versionFields)
    .from(datasetVersions)
    .orderBy(asc(datasetVersions.datasetName), desc(datasetVersions.version));
}

/** Newest first. */
export function listVersions(db: Queryable, name: string): Promise<DatasetVersionRow[]> {
  return db
    .select(versionFields)
    .from(datasetVersions)
    .where(eq(datasetVersions.datasetName, name))
    .orderBy(desc(datasetVersions.version));
}

export async function newestVersion(db: Queryable, name: string): Promise<DatasetVersionRow | null> {
  const [row] = await db
    .select(versionFields)
    .from(datasetVersions)
    .where(eq(datasetVersions.datasetName, name))
    .orderBy(desc(datasetVersions.version))
    .limit(1);
  return row ?? null;
}

/** The newest version committed up to the instant. */
export async function versionAsOf(db: Queryable, name: string, asOf: string): Promise<DatasetVersionRow | null> {
  const [row] = await db
    .select(versionFields)
    .from(datasetVersions)
    .where(and(eq(datasetVersions.datasetName, name), lte(datasetVersions.committedAt, sql`${asOf}::timestamptz`)))
    .orderBy(desc(datasetVersions.version))
    .limit(1);
  return row ?? null;
}

export async function findVersion(db: Queryable, name: string, version: number): Promise<DatasetVersionRow | null> {
  const [row] = await db
    .select(versionFields)
    .from(datasetVersions)
    .where(and(eq(datasetVersions.datasetName, name), eq(datasetVersions.version, version)));
  return row ?? null;
}

/** By path, in byte order. */
export function filesOf(db: Queryable, name: string, version: number): Promise<DatasetFileRow[]> {
  return db
    .select({ path: datasetFiles.path, sizeBytes: datasetFiles.sizeBytes, sha256: datasetFiles.sha256 })
    .from(datasetFiles)
    .where(and(eq(datasetFiles.datasetName, name), eq(datasetFiles.version, version)))
    .orderBy(sql`${datasetFiles.path} collate "C"`);
}

export interface ChangedFile {
  path: string;
  what: 'added' | 'removed' | 'changed';
}

/** Which files two versions differ in: how many, and the first by path. */
export async function changedFiles(
  db: Queryable,
  before: { name: string; version: number },
  after: { name: string; version: number },
  filesMax: number,
): Promise<{ total: number; files: ChangedFile[] }> {
  const files = ({ name, version }: { name: string; version: number }) =>
    sql`(select path, sha256 from dataset_files where dataset_name = ${name} and version = ${version}::integer)`;
  const { rows } = await db.execute<{ total: string; path: string; what: ChangedFile['what'] }>(sql`
    select count(*) over () total, path,
      case when a.sha256 is null then 'removed' when b.sha256 is null then 'added' else 'changed' end what
    from ${files(before)} b full join ${files(after)} a using (path)
    where a.sha256 is distinct from b.sha256 order by path collate "C" limit ${filesMax}`);
  return { total: Number(rows[0]?.total ?? 0), files: rows.map(({ path, what }) => ({ path, what })) };
}
