// What training code already writes: metrics.json (flat or nested), metrics.jsonl, history.json and metrics CSV files.
import { declaredPathMatches, type CompileGlob } from './glob.ts';
import type { MetricPoint, MetricSeries } from './metrics.ts';

export interface MetricsFile {
  path: string;
  text: string;
}

export interface MetricsReading {
  series: (MetricSeries & { file: string })[];
  /** Plain sentences about what could not be read or was said twice; never a reason to fail. */
  notes: string[];
}

const keysMax = 10_000;
const depthMax = 32;
const keyLengthMax = 250;

/** Which of a stage's files hold metrics: those declared, else those with a usual name at most two folders deep. */
export function metricsFilePaths(
  declared: readonly string[],
  paths: readonly string[],
  compileGlob: CompileGlob,
): string[] {
  if (declared.length === 0) return usualNames.flatMap((name) => paths.filter((path) => isUsual(path, name)));
  return [...new Set(declared.flatMap((item) => paths.filter(declaredPathMatches(item, compileGlob))))];
}

// In the order in which they win when several report one key.
const usualNames = ['metrics.json', 'metrics.jsonl', 'history.json', 'history.jsonl', 'metrics.csv', 'history.csv'];

function isUsual(path: string, name: string): boolean {
  const parts = path.split('/');
  return parts.at(-1) === name && parts.length <= 3 && !path.includes('lightning_logs/');
}

/** Joins the files of one stage; for a key that several report, the first file wins and a difference is noted. */
export function readMetricsFiles(files: readonly MetricsFile[]): MetricsReading {
  const joined = new Map<string, MetricSeries & { file: string }>();
  const notes: string[] = [];
  for (const file of files) {
    const { series, notes: problems } = readMetricsFile(file);
    notes.push(...problems);
    for (const item of series) {
      const first = joined.get(item.key);
      if (!first) joined.set(item.key, { ...item, file: file.path });
      else if (!Object.is(first.points.at(-1)?.value, item.points.at(-1)?.value)) {
        notes.push(`${item.key} ends differently in ${first.file} and ${file.path}; ${first.file} counts.`);
      }
    }
  }
  return { series: [...joined.values()], notes };
}

function readMetricsFile(file: MetricsFile): { series: MetricSeries[]; notes: string[] } {
  const collector = createCollector(file.path);
  const text = file.text.replace(/^\uFEFF/, '');
  if (file.path.endsWith('.csv')) collectCsv(text, collector);
  else if (file.path.endsWith('.jsonl') || file.path.endsWith('.ndjson')) collectLines(text, collector);
  else collectDocument(text, collector);
  return { series: collector.series(), notes: collector.notes };
}

interface Collector {
  notes: string[];
  add(key: string, point: MetricPoint): void;
  series(): MetricSeries[];
  path: string;
}

function createCollector(path: string): Collector {
  const series = new Map<string, MetricPoint[]>();
  const notes: string[] = [];
  return {
    path,
    notes,
    series: () => [...series].map(([key, points]) => ({ key, points })),
    add(key, point) {
      const points = series.get(key);
      if (points) points.push(point);
      else if (key === '' || key.length > keyLengthMax) notes.push(`${path} has a key of ${key.length} characters.`);
      else if (key.includes('\0')) notes.push(`${path} has a key with the character 0, which no name can have.`);
      else if (series.size < keysMax) series.set(key, [point]);
      else if (series.size === keysMax && !notes.includes(tooMany(path))) notes.push(tooMany(path));
    },
  };
}

function tooMany(path: string): string {
  return `${path} reports more than ${keysMax} metrics; the rest is left out.`;
}

function collectDocument(text: string, collector: Collector): void {
  const value = parseLenient(text);
  if (value === undefined) collector.notes.push(`${collector.path} is not JSON; expected an object of numbers.`);
  else if (Array.isArray(value)) collectRecords(value, '', collector);
  else if (isObject(value)) collectObject(value, '', 0, collector);
  else collector.notes.push(`${collector.path} holds no object; expected names with numbers.`);
}

// A stage that is killed leaves half a line at the end, so the last line may be broken without a word.
function collectLines(text: string, collector: Collector): void {
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  const records = lines.map(parseLenient);
  const broken = records.findIndex((record, index) => record === undefined && index < records.length - 1);
  if (broken >= 0) collector.notes.push(`${collector.path} line ${broken + 1} is not JSON; it is left out.`);
  collectRecords(records, '', collector);
}

function collectCsv(text: string, collector: Collector): void {
  const [header = '', ...lines] = text.split(/\r?\n/).filter((line) => line.trim() !== '');
  const names = header.split(',').map((name) => name.trim().replaceAll(/^"|"$/g, ''));
  const records = lines.map((line) => {
    const cells = line.split(',').map((cell) => (cell.trim() === '' ? Number.NaN : Number(cell)));
    const filled = names.flatMap((name, index): [string, unknown][] => {
      const blank = (line.split(',')[index] ?? '').trim() === '';
      const isNumber = !Number.isNaN(cells[index]) || /^\s*nan\s*$/i.test(line.split(',')[index] ?? '');
      return blank || !isNumber ? [] : [[name, cells[index]]];
    });
    return Object.fromEntries(filled);
  });
  collectRecords(records, '', collector);
}

// An object of numbers is one point each; an object of lists is one curve each, over the list that counts steps.
function collectObject(object: Record<string, unknown>, prefix: string, depth: number, collector: Collector): void {
  const steps = stepsOf(object);
  for (const [name, value] of Object.entries(object)) {
    const key = prefix + name;
    const number = asNumber(value);
    if (number !== null) collector.add(key, { step: 0, value: number });
    else if (Array.isArray(value))
      collectList(value, key, steps?.name === name ? null : (steps?.values ?? null), collector);
    else if (isObject(value) && depth < depthMax) collectObject(value, `${key}.`, depth + 1, collector);
  }
}

function collectList(list: unknown[], key: string, steps: number[] | null, collector: Collector): void {
  if (list.some(isObject)) return collectRecords(list, `${key}.`, collector);
  const numbers = list.map(asNumber);
  if (numbers.some((number) => number === null)) return;
  const usable = steps?.length === list.length ? steps : null;
  numbers.forEach((value, index) => {
    if (value !== null) collector.add(key, { step: usable?.[index] ?? index, value });
  });
}

/** Rows of `{step, loss, …}`, or of `{key, value, step}` as loggers write them. */
function collectRecords(records: readonly unknown[], prefix: string, collector: Collector): void {
  records.forEach((record, index) => {
    if (!isObject(record)) return;
    const stepName = stepNames.find((name) => isStep(record[name]));
    const step = stepName === undefined ? index : Number(record[stepName]);
    const long = longForm(record);
    if (long) return collector.add(prefix + long.key, { step, value: long.value });
    const rest = Object.entries(record).filter(([name]) => name !== stepName && name !== 'timestamp');
    for (const [name, value] of rest) collectCell(value, prefix + name, step, 0, collector);
  });
}

function collectCell(value: unknown, key: string, step: number, depth: number, collector: Collector): void {
  const number = asNumber(value);
  if (number !== null) return collector.add(key, { step, value: number });
  if (!isObject(value) || depth >= depthMax) return;
  for (const [name, item] of Object.entries(value)) collectCell(item, `${key}.${name}`, step, depth + 1, collector);
}

function longForm(record: Record<string, unknown>): { key: string; value: number } | null {
  const key = record.key ?? record.name ?? record.metric;
  const value = asNumber(record.value);
  return typeof key === 'string' && value !== null ? { key, value } : null;
}

const stepNames = ['step', 'global_step', 'iteration', 'iter', 'epoch', 'Step', 'Epoch'];

function isStep(value: unknown): boolean {
  return Number.isSafeInteger(value);
}

function stepsOf(object: Record<string, unknown>): { name: string; values: number[] } | null {
  const name = stepNames.find((candidate) => {
    const value = object[candidate];
    return Array.isArray(value) && value.every(isStep);
  });
  return name === undefined ? null : { name, values: object[name] as number[] };
}

// Python's json writes NaN and infinities bare; MLflow writes them as texts.
const bareToken = /"(?:[^"\\]|\\.)*"|-?Infinity\b|\bNaN\b/g;

function parseLenient(text: string): unknown {
  try {
    return JSON.parse(text.replaceAll(bareToken, (token) => (token.startsWith('"') ? token : `"${token}"`)));
  } catch {
    return undefined;
  }
}

function asNumber(value: unknown): number | null {
  if (typeof value === 'number') return value;
  return value === 'NaN' || value === 'Infinity' || value === '-Infinity' ? Number(value) : null;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
