// Reading logs: which attempts have one, and the stretches from a byte on.
import { and, asc, eq, gt, sql } from 'drizzle-orm';
import type { Queryable } from './connect.ts';
import { attempts, logChunks, steps } from './schema/steps.ts';

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
  attempt: number;
  isOpen: boolean;
  sizeBytes: number;
}

/** Attempts of the run in the order of its steps, each with the size of its log so far. */
export async function listLoggedAttempts(db: Queryable, runId: string): Promise<LoggedAttempt[]> {
  const rows = await db
    .select({
      step: attempts.step,
      attempt: attempts.fence,
      isOpen: sql<boolean>`${attempts.status} in ('starting', 'running')`,
      sizeBytes: sql<string>`coalesce((select max(${logChunks.offsetBytes} + ${logChunks.sizeBytes}) from ${logChunks}
        where ${logChunks.runId} = ${attempts.runId} and ${logChunks.step} = ${attempts.step}
          and ${logChunks.fence} = ${attempts.fence}), 0)`,
    })
    .from(attempts)
    .leftJoin(
      steps,
      and(eq(steps.runId, attempts.runId), eq(steps.name, attempts.step), eq(steps.execution, attempts.execution)),
    )
    .where(eq(attempts.runId, runId))
    .orderBy(asc(steps.position), asc(attempts.step), asc(attempts.fence));
  return rows.map((row) => ({ ...row, sizeBytes: Number(row.sizeBytes) }));
}
