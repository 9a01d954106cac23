// Instants as the API spells them: UTC, microseconds, ISO 8601.
import { type AnyColumn, type SQL, sql } from 'drizzle-orm';

export function isoInstant(column: AnyColumn | SQL): SQL<string> {
  return sql<string>`to_char(${column} at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;
}

export function isoInstantOrNull(column: AnyColumn | SQL): SQL<string | null> {
  return isoInstant(column);
}

/** Whole milliseconds from `start` to `end`, or to now; null before the start. */
export function durationMs(start: AnyColumn | SQL, end: AnyColumn | SQL): SQL<number | null> {
  return sql<
    number | null
  >`(extract(epoch from coalesce(${end}, clock_timestamp()) - ${start}) * 1000)::float8`.mapWith((value) =>
    value === null ? null : Math.max(0, Math.round(Number(value))),
  );
}
