// Time zones by their IANA names, and instants as clocks there show them.

/** Zones are named exactly: `Europe/Berlin`, neither `europe/berlin` nor `+01:00`. */
export function isTimeZone(text: string): boolean {
  if (!/^[A-Z][A-Za-z0-9_+/-]{1,63}$/.test(text)) return false;
  const known = canonicalName(text);
  // Where only the case differs the name is misspelt; where more does it is an alias, such as Asia/Kolkata.
  return known !== null && (known === text || known.toLowerCase() !== text.toLowerCase());
}

function canonicalName(text: string): string | null {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: text }).resolvedOptions().timeZone;
  } catch (error) {
    if (error instanceof RangeError) return null;
    throw error;
  }
}

/** The instant with the zone's clock and its distance from UTC: `2026-03-29T03:30:00+02:00`. */
export function zonedTime(instant: Date, timeZone: string): string {
  const parts = new Intl.DateTimeFormat('en-CA', {
    timeZone,
    hourCycle: 'h23',
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    timeZoneName: 'longOffset',
  }).formatToParts(instant);
  const part = (type: Intl.DateTimeFormatPartTypes) => parts.find((found) => found.type === type)?.value ?? '';
  const offset = part('timeZoneName').replace('GMT', '') || '+00:00';
  return `${part('year')}-${part('month')}-${part('day')}T${part('hour')}:${part('minute')}:${part('second')}${offset}`;
}
