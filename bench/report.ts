// Every benchmark prints ours beside the limit of this machine and, where there is one, a peer, all from one run: only
// the ratios travel from one machine to another.
import { execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { cpus, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';

export interface Comparison {
  what: string;
  ours: number;
  unit: string;
  /** What ours is held against: a limit probed in this run, or a peer doing the same work. */
  against?: { name: string; value: number };
  /** In words, for example `≥ 0.9`. */
  aim?: string;
}

/** Three significant digits, without an exponent. */
export function round(value: number): string {
  if (!Number.isFinite(value)) return '–';
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value) || 1)));
  return value.toFixed(Math.min(digits, 3));
}

function cells(row: Comparison): string[] {
  const { against } = row;
  const held = against === undefined ? '–' : `${round(against.value)} ${row.unit} (${against.name})`;
  const ratio = against === undefined ? '–' : round(row.ours / against.value);
  return [row.what, `${round(row.ours)} ${row.unit}`, held, ratio, row.aim ?? '–'];
}

export function printComparisons(title: string, rows: readonly Comparison[]): void {
  const table = [['what', 'ours', 'held against', 'ratio', 'aim'], ...rows.map(cells)];
  const widths = table[0]?.map((_, column) => Math.max(...table.map((line) => line[column]?.length ?? 0))) ?? [];
  console.log(`\n${title}`);
  for (const line of table) console.log(`  ${line.map((cell, n) => cell.padEnd(widths[n] ?? 0)).join('  ')}`.trimEnd());
}

export function printMachine(): void {
  const git = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim();
  const memory = Math.round(totalmem() / 1024 ** 3);
  const load =
    process.platform === 'linux' ? execFileSync('cut', ['-d ', '-f1', '/proc/loadavg']).toString().trim() : '?';
  console.log(
    `commit ${git}, Node ${process.version}, ${cpus().length} cores, ${memory} GiB, load ${load} at the start`,
  );
}

export async function timeMs(task: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await task();
  return performance.now() - start;
}

export function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** Runs the variants in turn, round after round, so that a slow moment of the machine hits all of them alike. */
export async function interleave<Name extends string>(
  rounds: number,
  variants: Record<Name, (round: number) => Promise<number>>,
): Promise<Record<Name, number>> {
  const names = Object.keys(variants) as Name[];
  const seen = new Map<Name, number[]>(names.map((name) => [name, []]));
  for (let n = 0; n < rounds; n += 1) {
    for (const name of names) seen.get(name)?.push(await variants[name](n));
  }
  return Object.fromEntries(names.map((name) => [name, median(seen.get(name) ?? [])])) as Record<Name, number>;
}

export async function withTemporaryDir<T>(task: (dir: string) => Promise<T>): Promise<T> {
  const dir = await mkdtemp(join(process.env['ASSAY_BENCH_DIR'] ?? tmpdir(), 'assay-bench-'));
  try {
    return await task(dir);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
