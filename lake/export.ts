// Snapshots that exist, and their rows in the format somebody asks for.
import { join } from 'node:path';
import { copyFile, rename, rm } from 'node:fs/promises';
import { DomainError } from '#core/errors.ts';
import { isUuid } from '#db/ids.ts';
import { type SnapshotRow, findSnapshot } from '#db/snapshots.ts';
import type { BlobDigest } from '#storage/blob-store.ts';
import { hashFile } from '#storage/bytes.ts';
import type { DataFormat } from './column-types.ts';
import type { Lake } from './lake.ts';

export async function getSnapshot(lake: Pick<Lake, 'db'>, id: string): Promise<SnapshotRow> {
  const found = isUuid(id) ? await findSnapshot(lake.db, id) : null;
  if (found === null) throw new DomainError('not-found', `There is no snapshot ${id.slice(0, 80)}.`);
  return found;
}

/**
 * Writes the rows to `path`, in the snapshot's order, complete or not at all. The bytes depend on the rows, the format
 * and the engine version only.
 */
export async function exportSnapshot(
  lake: Lake,
  { sha256, format, path }: { sha256: string; format: DataFormat; path: string },
): Promise<BlobDigest> {
  if (format === 'parquet') return lake.store.copyTo(sha256, path);
  return lake.engine.work(async (session) => {
    const file = join(session.directory, 'snapshot.parquet');
    const out = join(session.directory, `snapshot.${format}`);
    await lake.store.copyTo(sha256, file);
    await session.call('convert', { file, format, out });
    await moveTo(out, path);
    return hashFile(path);
  });
}

/** Across file systems a rename is refused, so the bytes travel under another name first. */
async function moveTo(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EXDEV')) throw error;
    const partial = `${to}.partial`;
    await copyFile(from, partial);
    await rename(partial, to);
    await rm(from, { force: true });
  }
}
