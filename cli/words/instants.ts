// Instants as people type them.
import { CliError } from '#cli/errors.ts';

const complete = /^\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)$/;
const dateOnly = /^\d{4}-\d\d-\d\d$/;

/**
 * ISO 8601 with a zone. A date alone is its beginning in UTC; a time without a zone is refused, because it would mean
 * another instant on another machine. Digits behind the second are kept.
 */
export function parseInstant(text: string): string {
  const candidate = dateOnly.test(text) ? `${text}T00:00:00Z` : text.replace(' ', 'T');
  if (complete.test(candidate) && !Number.isNaN(Date.parse(candidate))) return withSeconds(candidate);
  throw new CliError(
    `Found the time "${text}"; expected a date, or a date and time with a zone, such as 2026-03-01T12:00:00Z.`,
  );
}

function withSeconds(instant: string): string {
  return instant.replace(/T(\d\d:\d\d)(?=Z|[+-])/, 'T$1:00');
}
