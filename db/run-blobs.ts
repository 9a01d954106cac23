// The blobs that a run itself names: manifest, statement, lock, source and patch.
import { eq, sql } from 'drizzle-orm';
import type { Queryable } from './connect.ts';
import { runLabel } from './run-label.ts';
import { projects } from './schema/projects.ts';
import { runs } from './schema/runs.ts';

export interface RunBlob {
  sha256: string;
  sizeBytes: number;
}

export interface BlobsOfRun {
  label: string;
  blobs: Record<'manifest' | 'statement' | 'lock' | 'source' | 'patch', RunBlob | null>;
}

/** The run exists: its id was found before. */
export async function findBlobsOfRun(db: Queryable, runId: string): Promise<BlobsOfRun> {
  const blob = (sha256: unknown) =>
    sql<RunBlob | null>`(select jsonb_build_object('sha256', b.sha256, 'sizeBytes', b.size_bytes) from blobs b where b.sha256 = ${sha256})`;
  const [row] = await db
    .select({
      label: runLabel,
      manifest: blob(runs.manifestSha256),
      statement: blob(runs.statementSha256),
      lock: blob(sql`(select e.lock_sha256 from environments e where e.environment_key = ${runs.environmentKey})`),
      source: blob(runs.sourceSha256),
      patch: blob(runs.patchSha256),
    })
    .from(runs)
    .innerJoin(projects, eq(projects.id, runs.projectId))
    .where(eq(runs.id, runId));
  if (row === undefined) throw new TypeError(`Run ${runId} is gone although runs are not deleted.`);
  const { label, ...blobs } = row;
  return { label, blobs };
}
