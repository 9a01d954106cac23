// Canonical JSON: one text per value, whatever the order of its keys, the Unicode form of its texts or the spelling of
// its numbers. Keys are sorted by UTF-16 code units, as in RFC 8785; texts are normalised to NFC.

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** Throws TypeError on what JSON has no text for (undefined, NaN, infinities, functions) and on keys that normalise alike. */
export function canonicalJson(value: Json): string {
  if (value === null || typeof value === 'boolean') return String(value);
  if (typeof value === 'number') return canonicalNumber(value);
  if (typeof value === 'string') return JSON.stringify(value.normalize('NFC'));
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (isPlainObject(value)) return canonicalObject(value);
  throw new TypeError(`canonical JSON has no text for ${typeof value}`);
}

function canonicalNumber(value: number): string {
  if (!Number.isFinite(value)) throw new TypeError(`canonical JSON has no text for ${value}`);
  return JSON.stringify(value);
}

function canonicalObject(value: { readonly [key: string]: Json }): string {
  const entries = Object.entries(value).map(([key, item]) => [key.normalize('NFC'), item] as const);
  entries.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  const twice = entries.find(([key], index) => key === entries[index + 1]?.[0]);
  if (twice) throw new TypeError(`two keys are the same text after normalisation: ${twice[0]}`);
  return `{${entries.map(([key, item]) => `${JSON.stringify(key)}:${canonicalJson(item)}`).join(',')}}`;
}

function isPlainObject(value: unknown): value is { readonly [key: string]: Json } {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
