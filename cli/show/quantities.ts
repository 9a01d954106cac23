// Times and sizes in the words people use.

const secondMs = 1000;
const minuteMs = 60 * secondMs;
const hourMs = 60 * minuteMs;
const dayMs = 24 * hourMs;

/** For example `340 ms`, `12.4 s`, `3 min 05 s`, `2 h 04 min`. */
export function formatDuration(ms: number): string {
  if (ms < secondMs) return `${Math.round(ms)} ms`;
  if (ms < minuteMs) return `${(Math.floor(ms / 100) / 10).toFixed(1)} s`;
  if (ms < hourMs) return `${Math.floor(ms / minuteMs)} min ${twoDigits((ms % minuteMs) / secondMs)} s`;
  return `${Math.floor(ms / hourMs)} h ${twoDigits((ms % hourMs) / minuteMs)} min`;
}

/** How long ago an instant was, in its largest unit. */
export function formatAge(instant: string, nowMs: number): string {
  const ms = Math.max(0, nowMs - Date.parse(instant));
  if (ms < minuteMs) return 'just now';
  if (ms < hourMs) return `${Math.floor(ms / minuteMs)} min ago`;
  if (ms < dayMs) return `${Math.floor(ms / hourMs)} h ago`;
  return `${Math.floor(ms / dayMs)} d ago`;
}

/** Binary units: `512 B`, `1.5 KiB`, `2.0 GiB`. */
export function formatSize(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

/** Six significant digits at most; text such as `NaN` stays as it is. */
export function formatNumber(value: number | string): string {
  const number = Number(value);
  return Number.isFinite(number) ? String(Number(number.toPrecision(6))) : String(value);
}

function twoDigits(value: number): string {
  return String(Math.floor(value)).padStart(2, '0');
}
