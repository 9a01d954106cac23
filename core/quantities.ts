// How project files spell amounts: `2h`, `1h30m`, `16GB`, `4+`, `H100:1`.
import type { Accelerators } from './project.ts';

const unitMs = { d: 86_400_000, h: 3_600_000, m: 60_000, s: 1000 } as const;
const durationPattern = /^(?=.)(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?$/;

/** Milliseconds of `2h`, `90s`, `1h30m`, or of a number of seconds; null for anything else. */
export function parseDuration(value: string | number): number | null {
  if (typeof value === 'number') return value >= 0 && Number.isFinite(value) ? Math.round(value * 1000) : null;
  const match = durationPattern.exec(value.trim().replaceAll(' ', ''));
  if (!match) return null;
  const [days, hours, minutes, seconds] = match.slice(1).map((amount) => Number(amount ?? 0));
  const ms = (days ?? 0) * unitMs.d + (hours ?? 0) * unitMs.h + (minutes ?? 0) * unitMs.m + (seconds ?? 0) * unitMs.s;
  return Math.round(ms);
}

/** `2h`, `1h30m`, `90s` become `2h`, `1h30m`, `1m30s`; below a second, milliseconds. */
export function formatDuration(ms: number): string {
  if (ms < 1000) return `${ms} ms`;
  const seconds = Math.round(ms / 1000);
  const parts = [
    [Math.floor(seconds / 3600), 'h'],
    [Math.floor((seconds % 3600) / 60), 'm'],
    [seconds % 60, 's'],
  ] as const;
  return parts.flatMap(([amount, unit]) => (amount > 0 ? [`${amount}${unit}`] : [])).join('');
}

/** GiB of a number, `16`, `32+`, `16GB`, `16GiB`, `512MB`; as in SkyPilot, G means 2³⁰ with or without the i. */
export function parseMemoryGib(value: string | number): number | null {
  if (typeof value === 'number') return value > 0 && Number.isFinite(value) ? value : null;
  const match = /^(\d+(?:\.\d+)?)\s*(?:([kmgt])i?b?)?\+?$/i.exec(value.trim());
  if (!match) return null;
  const factor = { k: 2 ** -20, m: 2 ** -10, g: 1, t: 2 ** 10 }[(match[2] ?? 'g').toLowerCase()] ?? 1;
  const amount = Number(match[1]) * factor;
  return amount > 0 ? amount : null;
}

/** Cores of a number, `4` or `4+` (at least 4, which is what a reservation always means). */
export function parseCpus(value: string | number): number | null {
  if (typeof value === 'number') return value > 0 && Number.isFinite(value) ? value : null;
  const match = /^(\d+(?:\.\d+)?)\+?$/.exec(value.trim());
  const amount = match ? Number(match[1]) : 0;
  return amount > 0 ? amount : null;
}

/** `H100:1`, `gpu:2`, `H100` (one) or a number (of any kind). Undefined for anything else; null asks for none. */
export function parseAccelerators(value: string | number): Accelerators | null | undefined {
  if (typeof value === 'number') return acceleratorsOf('gpu', value);
  const match = /^([A-Za-z][\w.-]*)(?::(\d+))?$/.exec(value.trim());
  if (!match?.[1]) return undefined;
  return match[1].toLowerCase() === 'none' ? null : acceleratorsOf(match[1].toLowerCase(), Number(match[2] ?? 1));
}

function acceleratorsOf(type: string, count: number): Accelerators | null | undefined {
  if (!Number.isInteger(count) || count < 0 || count > 64) return undefined;
  return count === 0 ? null : { type, count };
}
