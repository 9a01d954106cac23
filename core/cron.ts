/**
 * Whether a text is a cron expression: five fields of numbers, names, ranges, lists and steps, or a word such as
 * `@daily`. Whether 31 February exists is the scheduler's business.
 */
export function isCron(text: string): boolean {
  if (/^@(hourly|daily|weekly|monthly|yearly|annually|midnight)$/.test(text)) return true;
  const fields = text.trim().split(/\s+/);
  return fields.length === cronBounds.length && fields.every((field, index) => isCronField(field, cronBounds[index]));
}

const cronBounds: readonly (readonly [number, number, string])[] = [
  [0, 59, ''],
  [0, 23, ''],
  [1, 31, ''],
  [1, 12, 'jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec'],
  [0, 7, 'sun|mon|tue|wed|thu|fri|sat'],
];

function isCronField(field: string, bounds: readonly [number, number, string] | undefined): boolean {
  if (!bounds) return false;
  const [min, max, names] = bounds;
  const isValue = (value: string) =>
    /^\d+$/.test(value)
      ? Number(value) >= min && Number(value) <= max
      : names.split('|').includes(value.toLowerCase()) && value !== '';
  return field.split(',').every((part) => {
    const [range = '', step, extra] = part.split('/');
    if (extra !== undefined || (step !== undefined && !/^[1-9]\d*$/.test(step))) return false;
    return range === '*' || (range.split('-').length <= 2 && range.split('-').every(isValue));
  });
}
