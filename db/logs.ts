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
  /** The run that has the log: another one where the step was reused. */
  runId: string;
  step: string;
  /** The fence of the attempt; 0 for a platform step. */
  attempt: number;
  isOpen: boolean;
  sizeBytes: number;
}

/**
 * Logs of the run in the order of its steps, each with its size so far: one per attempt of a stage, one (attempt 0) for
 * each platform step that printed something, and for a reused step that of the attempt that made the result.
 */
export async function listLoggedAttempts(db: Queryable, runId: string): Promise<LoggedAttempt[]> {
  const found = await db.execute<LoggedRow>(sql`
    with newest as (
      select distinct on (name) name, position, status, reused_from, fence
      from steps where run_id = ${runId} order by name, execution desc
    ), logs as (
      select run_id, step, fence, max(offset_bytes + size_bytes) as size_bytes
      from log_chunks where run_id = ${runId} group by run_id, step, fence
      union
      select l.run_id, l.step, l.fence, max(l.offset_bytes + l.size_bytes)
      from newest n join log_chunks l on l.run_id = n.reused_from and l.step = n.name and l.fence = n.fence
      group by l.run_id, l.step, l.fence
    ), tries as (
      select run_id, step, fence, status in ('starting', 'running') as is_open from attempts where run_id = ${runId}
    )
    select coalesce(t.run_id, l.run_id) as run_id, coalesce(t.step, l.step) as step, coalesce(t.fence, l.fence) as attempt,
           coalesce(t.is_open, n.status = 'running', false) as is_open, coalesce(l.size_bytes, 0) as size_bytes
    from tries t full join logs l on l.run_id = t.run_id and l.step = t.step and l.fence = t.fence
    left join newest n on n.name = coalesce(t.step, l.step)
    order by n.position, 2, coalesce(t.run_id, l.run_id) = n.reused_from, 3`);
  return found.rows.map((row) => {
    return {
      runId: row.run_id,
      step: row.step,
      attempt: row.attempt,
      isOpen: row.is_open,
      sizeBytes: Number(row.size_bytes),
    };
  });
}

type LoggedRow = { run_id: string; step: string; attempt: number; is_open: boolean; size_bytes: string };
