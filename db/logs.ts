// Reading logs: which attempts have one, and the stretches from a byte on.
import { and, asc, eq, gt, sql } from 'drizzle-orm';
import type { Queryable } from './connect.ts';
import { logChunks } from './schema/steps.ts';

export interface LogStretch {
  offsetBytes: number;
  sizeBytes: number;
  sha256: string | null;
  inline: Buffer | null;
}

/** Stretches that end behind `from`, in order; at most `max`, so that a long log is read piece by piece. */
export async function readLogStretches(
  db: Queryable,
  log: { runId: string; step: string; attempt: number },
  from: number,
  max: number,
): Promise<LogStretch[]> {
  return await db
    .select({
      offsetBytes: logChunks.offsetBytes,
      sizeBytes: logChunks.sizeBytes,
      sha256: logChunks.sha256,
      inline: logChunks.inline,
    })
    .from(logChunks)
    .where(
      and(
        eq(logChunks.runId, log.runId),
        eq(logChunks.step, log.step),
        eq(logChunks.fence, log.attempt),
        gt(sql`${logChunks.offsetBytes} + ${logChunks.sizeBytes}`, from),
      ),
    )
    .orderBy(asc(logChunks.offsetBytes))
    .limit(max);
}

export interface LoggedAttempt {
  step: string;
  /** The fence of the attempt; 0 for a platform step. */
  attempt: number;
  isOpen: boolean;
  sizeBytes: number;
}

/**
 * Logs of the run in the order of its steps, each with its size so far: one per attempt of a stage, and one (attempt 0)
 * for each platform step that printed something.
 */
export async function listLoggedAttempts(db: Queryable, runId: string): Promise<LoggedAttempt[]> {
  const found = await db.execute<{ step: string; attempt: number; is_open: boolean; size_bytes: string }>(sql`
    with logs as (
      select step, fence, max(offset_bytes + size_bytes) as size_bytes
      from log_chunks where run_id = ${runId} group by step, fence
    ), tries as (
      select step, fence, execution, status in ('starting', 'running') as is_open from attempts where run_id = ${runId}
    ), newest as (
      select distinct on (name) name, position, status from steps where run_id = ${runId} order by name, execution desc
    )
    select coalesce(t.step, l.step) as step, coalesce(t.fence, l.fence) as attempt,
           coalesce(t.is_open, n.status = 'running', false) as is_open, coalesce(l.size_bytes, 0) as size_bytes
    from tries t full join logs l on l.step = t.step and l.fence = t.fence
    left join newest n on n.name = coalesce(t.step, l.step)
    order by n.position, 1, 2`);
  return found.rows.map((row) => {
    return { step: row.step, attempt: row.attempt, isOpen: row.is_open, sizeBytes: Number(row.size_bytes) };
  });
}
