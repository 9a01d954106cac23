// Materialised queries. A row never changes; equal keys are the same row.
import { eq } from 'drizzle-orm';
import { lockLiveBlobs } from './blobs.ts';
import type { Database, Queryable } from './connect.ts';
import { newId } from './ids.ts';
import { isoInstant } from './instants.ts';
import { type LakeColumn, snapshots } from './schema/lake.ts';

export interface SnapshotRow {
  id: string;
  snapshotKey: string;
  query: string;
  params: Record<string, unknown>;
  asOf: string;
  segments: Array<{ table: string; sha256: string }>;
  engine: string;
  sha256: string;
  sizeBytes: number;
  rows: number;
  columns: LakeColumn[];
  orderedDigest: string;
  unorderedDigest: string;
  profile: unknown;
  createdAt: string;
}

const fields = {
  id: snapshots.id,
  snapshotKey: snapshots.snapshotKey,
  query: snapshots.query,
  params: snapshots.params,
  asOf: isoInstant(snapshots.asOf),
  segments: snapshots.segments,
  engine: snapshots.engine,
  sha256: snapshots.sha256,
  sizeBytes: snapshots.sizeBytes,
  rows: snapshots.rows,
  columns: snapshots.columns,
  orderedDigest: snapshots.orderedDigest,
  unorderedDigest: snapshots.unorderedDigest,
  profile: snapshots.profile,
  createdAt: isoInstant(snapshots.createdAt),
};

export async function findSnapshot(db: Queryable, id: string): Promise<SnapshotRow | null> {
  const [row] = await db.select(fields).from(snapshots).where(eq(snapshots.id, id));
  return row ?? null;
}

export async function findSnapshotByKey(db: Queryable, snapshotKey: string): Promise<SnapshotRow | null> {
  const [row] = await db.select(fields).from(snapshots).where(eq(snapshots.snapshotKey, snapshotKey));
  return row ?? null;
}

export type NewSnapshot = Omit<SnapshotRow, 'id' | 'createdAt'>;

/** The row with this key: the new one, or the one that somebody wrote a moment before. */
export function saveSnapshot(db: Database, snapshot: NewSnapshot): Promise<SnapshotRow> {
  return db.transaction(async (tx) => {
    await lockLiveBlobs(tx, [snapshot.sha256]);
    await tx
      .insert(snapshots)
      .values({ id: newId(), ...snapshot })
      .onConflictDoNothing({ target: snapshots.snapshotKey });
    const saved = await findSnapshotByKey(tx, snapshot.snapshotKey);
    if (saved === null) throw new Error('a snapshot that was just written can not be read');
    return saved;
  });
}
