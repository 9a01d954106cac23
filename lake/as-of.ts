// Which moment a query looks from, and what the lake held then. Resolved once; afterwards only the answer is used.
import { sql } from 'drizzle-orm';
import { DomainError } from '#core/errors.ts';
import type { Database, Transaction } from '#db/connect.ts';

/** One lock for the whole lake: appends take it alone, everybody who resolves an as-of shares it. */
const lakeLock = 4_207_303;
const isoPattern = /^\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?(Z|[+-]\d{2}(?::?\d{2})?)?)?$/i;

/**
 * Calls `read` with the resolved instant, while nothing can be appended: what it reads up to that instant is complete
 * and stays so. Null means now, by the clock of the database. Refuses the future and what is not ISO 8601.
 */
export function resolveAsOf<T>(
  db: Database,
  asOf: string | null,
  read: (tx: Transaction, asOf: string) => Promise<T>,
): Promise<T> {
  const asked = asOf === null ? null : parseAsOf(asOf);
  return db.transaction(async (tx) => {
    await tx.execute(sql`select pg_advisory_xact_lock_shared(${lakeLock})`);
    const { rows } = await tx.execute<{ now: string; as_of: string; future: boolean }>(sql`
      select ${isoText(sql`clock.now`)} as now, ${isoText(sql`asked.as_of`)} as as_of, asked.as_of > clock.now as future
      from (select clock_timestamp() as now) clock,
        lateral (select coalesce(${asked}::timestamptz, clock.now) as as_of) asked`);
    const [found] = rows;
    if (found === undefined) throw new Error('the database answered no time');
    if (found.future) throw inFuture(found.as_of, found.now);
    return read(tx, found.as_of);
  });
}

/** Runs `append` alone, with the instant its rows are committed at: later than every commit before it. */
export function appendAlone<T>(db: Database, append: (tx: Transaction, committedAt: string) => Promise<T>): Promise<T> {
  return db.transaction((tx) => withAppendLock(tx, (committedAt) => append(tx, committedAt)));
}

/** As `appendAlone`, inside a transaction that has prepared its rows before the lock is taken. */
export async function withAppendLock<T>(tx: Transaction, append: (committedAt: string) => Promise<T>): Promise<T> {
  await tx.execute(sql`select pg_advisory_xact_lock(${lakeLock})`);
  // A statement of its own: it has to see what the holder before us committed.
  const { rows } = await tx.execute<{ at: string }>(sql`
    select ${isoText(sql`greatest(
      clock_timestamp(),
      (select committed_at + interval '1 microsecond' from lake_segments order by seq desc limit 1),
      (select max(committed_at) + interval '1 microsecond' from dataset_versions))`)} as at`);
  const [found] = rows;
  if (found === undefined) throw new Error('the database answered no time');
  return append(found.at);
}

/** ISO 8601 to the minute or finer, or a date; UTC where no offset is given. */
export function parseAsOf(text: string): string {
  const trimmed = text.trim();
  const match = isoPattern.exec(trimmed);
  const time = trimmed.length === 10 ? 'T00:00:00Z' : match?.[1] === undefined ? 'Z' : '';
  const instant = `${trimmed.replace(' ', 'T')}${time}`.replace(/(T.*[+-]\d{2})$/, '$1:00');
  if (match !== null && !Number.isNaN(Date.parse(instant))) return instant;
  throw new DomainError(
    'invalid-request',
    `"${text.slice(0, 80)}" is not an as-of time. Expected ISO 8601, for example 2026-03-01T12:00:00Z.`,
  );
}

function isoText(instant: ReturnType<typeof sql>) {
  return sql`to_char(${instant} at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;
}

function inFuture(asOf: string, now: string): DomainError {
  return new DomainError(
    'as-of-in-future',
    `The as-of ${asOf} lies in the future; it is ${now} by the database's clock. Use an earlier time: what will be appended until then is not known yet.`,
  );
}
