// What a tick of a schedule does: a run, or the recorded reason why there is none.
import { ApplicationFailure } from '@temporalio/activity';
import type pg from 'pg';
import { EarlyTick, takeTick as decide, type TickOutcome } from '#db/schedule-ticks.ts';

export interface TickDeps {
  pool: pg.Pool;
  publicUrl: string;
}

export interface TickInput {
  scheduleId: string;
  /** When it was due, in ISO 8601. */
  nominalAt: string;
}

/** Asked again at least this often, should the database's clock be set right meanwhile. */
const waitMaxMs = 60_000;

export interface TakenTick {
  runId: string | null;
  skipped: string | null;
  /** Markdown for the Temporal UI. */
  line: string;
}

export async function takeTick({ pool, publicUrl }: TickDeps, input: TickInput): Promise<TakenTick> {
  const { runId, label, skipped } = await decideInTime(pool, input);
  const line = runId === null ? `No run: ${skipped}.` : `[${label}](${publicUrl}/api/v1/runs/${runId})`;
  return { runId, skipped, line };
}

/** A run looks at the data of its nominal time, which must have come by the clock of the data. */
async function decideInTime(pool: pg.Pool, input: TickInput): Promise<TickOutcome> {
  try {
    return await decide(pool, input);
  } catch (error) {
    if (!(error instanceof EarlyTick)) throw error;
    const nextRetryDelay = Math.min(error.earlyMs, waitMaxMs);
    throw ApplicationFailure.create({ message: error.message, type: 'early-tick', nextRetryDelay, cause: error });
  }
}
