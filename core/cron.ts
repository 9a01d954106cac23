// Cron expressions as Temporal reads them: five fields, all of which have to hold, or a word such as `@daily`.

const words: Readonly<Record<string, string>> = {
  '@hourly': '0 * * * *',
  '@daily': '0 0 * * *',
  '@midnight': '0 0 * * *',
  '@weekly': '0 0 * * 0',
  '@monthly': '0 0 1 * *',
  '@yearly': '0 0 1 1 *',
  '@annually': '0 0 1 1 *',
};

interface Field {
  min: number;
  max: number;
  /** The first stands for `firstName`. */
  names: readonly string[];
  firstName: number;
}

const months = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];
const weekdays = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];
const fields: readonly Field[] = [
  { min: 0, max: 59, names: [], firstName: 0 },
  { min: 0, max: 23, names: [], firstName: 0 },
  { min: 1, max: 31, names: [], firstName: 0 },
  { min: 1, max: 12, names: months, firstName: 1 },
  { min: 0, max: 7, names: weekdays, firstName: 0 },
];

/** Whether a text is a cron expression: numbers, names, ranges, lists and steps in five fields, or a word. */
export function isCron(text: string): boolean {
  return parseCron(text) !== null;
}

/** False for a cron expression without any date, such as 31 February, which no year has. */
export function cronHasDate(text: string): boolean {
  const [, , days = [], inMonths = []] = parseCron(text) ?? [];
  // Every weekday falls on every date of the calendar sooner or later.
  return inMonths.some((month) => days.some((day) => day <= daysIn(month)));
}

function daysIn(month: number): number {
  if (month === 2) return 29;
  return [4, 6, 9, 11].includes(month) ? 30 : 31;
}

/** The values of each field; null when the text is no cron expression. */
function parseCron(text: string): number[][] | null {
  const parts = (words[text] ?? text).trim().split(/\s+/);
  if (parts.length !== fields.length) return null;
  const parsed = fields.map((field, index) => parseField(parts[index] ?? '', field));
  return parsed.every((values) => values !== null) ? parsed : null;
}

function parseField(text: string, field: Field): number[] | null {
  const parsed = text.split(',').map((part) => parsePart(part, field));
  return parsed.every((values) => values !== null) ? parsed.flat() : null;
}

/** `*`, `5`, `mon-fri`, each with a step such as `/2`; one value with a step goes on to the field's end. */
function parsePart(part: string, field: Field): number[] | null {
  const [range = '', stepText, extra] = part.split('/');
  if (extra !== undefined || (stepText !== undefined && !/^[1-9]\d{0,3}$/.test(stepText))) return null;
  const bounds = parseRange(range, field, stepText !== undefined);
  if (bounds === null || bounds[0] > bounds[1]) return null;
  const values: number[] = [];
  for (let value = bounds[0]; value <= bounds[1]; value += Number(stepText ?? 1)) values.push(value);
  return values;
}

function parseRange(range: string, field: Field, hasStep: boolean): [number, number] | null {
  if (range === '*') return [field.min, field.max];
  const [first, last, extra] = range.split('-').map((value) => parseValue(value, field));
  if (first === undefined || first === null || last === null || extra !== undefined) return null;
  return [first, last ?? (hasStep ? field.max : first)];
}

function parseValue(text: string, { min, max, names, firstName }: Field): number | null {
  const named = names.indexOf(text.toLowerCase());
  const value = named >= 0 ? named + firstName : /^\d{1,2}$/.test(text) ? Number(text) : Number.NaN;
  return value >= min && value <= max ? value : null;
}
