// Writing of logs: a chunk grows inline until it is full, then its bytes move to a blob.
import { and, eq, sql } from 'drizzle-orm';
import { type AttemptId, holdFence } from './attempts.ts';
import type { Database } from './connect.ts';
import { logChunks } from './schema/steps.ts';

export interface LogChunk {
  offsetBytes: number;
  sizeBytes: number;
  /** Either the bytes themselves or the blob that holds them. */
  inline: Buffer | null;
  sha256: string | null;
}

/** Writes or rewrites the chunk at its offset; a superseded attempt changes nothing and gets false. */
export async function putLogChunk(db: Database, id: AttemptId, chunk: LogChunk): Promise<boolean> {
  return await db.transaction(async (tx) => {
    if (!(await holdFence(tx, id))) return false;
    await tx
      .insert(logChunks)
      .values({ runId: id.runId, step: id.step, fence: id.fence, ...chunk })
      .onConflictDoUpdate({
        target: [logChunks.runId, logChunks.step, logChunks.fence, logChunks.offsetBytes],
        set: { sizeBytes: chunk.sizeBytes, inline: chunk.inline, sha256: chunk.sha256 },
      });
    return true;
  });
}

/** Where an adopting worker goes on: the open inline chunk, or an empty one behind the last. */
export async function lastLogChunk(db: Database, id: AttemptId): Promise<LogChunk> {
  const [row] = await db
    .select()
    .from(logChunks)
    .where(and(eq(logChunks.runId, id.runId), eq(logChunks.step, id.step), eq(logChunks.fence, id.fence)))
    .orderBy(sql`${logChunks.offsetBytes} desc`)
    .limit(1);
  if (row === undefined) return { offsetBytes: 0, sizeBytes: 0, inline: Buffer.alloc(0), sha256: null };
  if (row.inline !== null) return row;
  return { offsetBytes: row.offsetBytes + row.sizeBytes, sizeBytes: 0, inline: Buffer.alloc(0), sha256: null };
}

/** The whole log of a platform step, as launch 0; written again as it grows. */
export async function putStepLog(db: Database, id: { runId: string; step: string }, bytes: Buffer): Promise<void> {
  const chunk = { sizeBytes: bytes.length, inline: bytes };
  await db
    .insert(logChunks)
    .values({ ...id, ...chunk, fence: 0, offsetBytes: 0 })
    .onConflictDoUpdate({
      target: [logChunks.runId, logChunks.step, logChunks.fence, logChunks.offsetBytes],
      set: chunk,
    });
}
