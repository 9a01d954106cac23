// Reading the files of a run. A path is a value in a column; no file is ever opened by it.
import { and, asc, desc, eq, or, type SQL, sql } from 'drizzle-orm';
import type { Queryable } from './connect.ts';
import { isoInstant } from './instants.ts';
import { artifacts } from './schema/steps.ts';

const columns = {
  path: artifacts.path,
  step: artifacts.step,
  attempt: artifacts.fence,
  sizeBytes: artifacts.sizeBytes,
  sha256: artifacts.sha256,
  mediaType: artifacts.mediaType,
  executable: artifacts.executable,
  createdAt: isoInstant(artifacts.createdAt),
};

/** Whether the files count for this run: the attempt made the result of their step in the newest execution that has one. */
const countsFor = (runId: string): SQL => sql`exists (
  select 1 from steps s where s.run_id = ${runId}::uuid and s.name = ${artifacts.step} and s.fence = ${artifacts.fence}
    and coalesce(s.reused_from, s.run_id) = ${artifacts.runId}
    and s.execution = (select max(e.execution) from steps e where e.run_id = s.run_id and e.name = s.name and e.fence is not null))`;

/** The run and those whose results it reuses. */
const holders = (runId: string): SQL => sql`${artifacts.runId} in (
  select ${runId}::uuid union select s.reused_from from steps s where s.run_id = ${runId}::uuid and s.reused_from is not null)`;

/** By step order of the paths; with `all`, files of attempts that failed or were superseded too. */
export async function listArtifacts(db: Queryable, runId: string, wanted: { step?: string | undefined; all: boolean }) {
  return await db
    .select(columns)
    .from(artifacts)
    .where(
      and(
        holders(runId),
        wanted.step === undefined ? undefined : eq(artifacts.step, wanted.step),
        wanted.all ? or(eq(artifacts.runId, runId), countsFor(runId)) : countsFor(runId),
      ),
    )
    .orderBy(asc(artifacts.path), asc(artifacts.step), asc(artifacts.fence));
}

export type ArtifactRow = Awaited<ReturnType<typeof listArtifacts>>[number];

/** The file that counts, else that of the newest attempt that has one. */
export async function findArtifact(
  db: Queryable,
  runId: string,
  wanted: { path: string; step?: string | undefined; attempt?: number | undefined },
): Promise<ArtifactRow | undefined> {
  const [row] = await db
    .select(columns)
    .from(artifacts)
    .where(
      and(
        holders(runId),
        or(eq(artifacts.runId, runId), countsFor(runId)),
        eq(artifacts.path, wanted.path),
        wanted.step === undefined ? undefined : eq(artifacts.step, wanted.step),
        wanted.attempt === undefined ? undefined : eq(artifacts.fence, wanted.attempt),
      ),
    )
    .orderBy(desc(countsFor(runId)), desc(artifacts.fence), asc(artifacts.step))
    .limit(1);
  return row;
}

/**
 * The files below the model's path, which is how a version's files are defined. The path may be one file; a path of
 * `model/` and `model` mean the same folder.
 */
export async function listArtifactsBelow(db: Queryable, runId: string, path: string): Promise<ArtifactRow[]> {
  const folder = path.replace(/\/+$/, '');
  const below = folder === '' || folder === '.' ? sql`true` : sql`starts_with(${artifacts.path}, ${`${folder}/`})`;
  return await db
    .select(columns)
    .from(artifacts)
    .where(and(holders(runId), countsFor(runId), or(eq(artifacts.path, folder), below)))
    .orderBy(asc(artifacts.path));
}
