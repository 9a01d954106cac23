// Keyset pages: the cursor is the key of the last item, so a page stays right while rows come and go.
import { DomainError } from '#core/errors.ts';

export interface Page<T> {
  items: T[];
  nextCursor: string | null;
}

/** `rows` holds one more than `limit` when there is a next page. */
export function pageOf<T>(rows: readonly T[], limit: number, keyOf: (item: T) => string | number): Page<T> {
  const items = rows.slice(0, limit);
  const last = items.at(-1);
  const nextCursor = rows.length > limit && last !== undefined ? encode(keyOf(last)) : null;
  return { items, nextCursor };
}

function encode(key: string | number): string {
  return Buffer.from(JSON.stringify([key])).toString('base64url');
}

/** @throws invalid-request for a cursor this server did not make. */
export function textCursor(cursor: string | undefined): string | null {
  const key = decode(cursor);
  if (key === null) return null;
  if (typeof key === 'string' && !key.includes('\0') && key.isWellFormed()) return key;
  throw badCursor();
}

export function numberCursor(cursor: string | undefined): number | null {
  const key = decode(cursor);
  if (key === null) return null;
  if (typeof key === 'number' && Number.isSafeInteger(key)) return key;
  throw badCursor();
}

export function idCursor(cursor: string | undefined): string | null {
  const key = textCursor(cursor);
  if (key === null || /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(key)) return key;
  throw badCursor();
}

function decode(cursor: string | undefined): unknown {
  if (cursor === undefined) return null;
  try {
    const parsed: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString());
    return Array.isArray(parsed) && parsed[0] !== null ? parsed[0] : undefined;
  } catch {
    return undefined;
  }
}

function badCursor(): DomainError {
  const message = 'The cursor does not belong to this list. Start without one.';
  return new DomainError('invalid-request', message, [{ path: 'query.cursor', message }]);
}
