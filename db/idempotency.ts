// Repeated requests: the same key and body of one caller create one thing, however often they arrive.
import { and, eq } from 'drizzle-orm';
import { DomainError } from '#core/errors.ts';
import type { Queryable, Transaction } from './connect.ts';
import { idempotencyKeys } from './schema/runs.ts';

export interface RequestKey {
  tokenId: string;
  key: string;
  /** Method and path pattern with the resource, so that one key is never taken for another request. */
  route: string;
  bodySha256: string;
}

/**
 * Remembers the key with what this transaction is about to create. Answers null when the request is new, else the id of
 * what the first request created. A concurrent first request is waited for.
 * @throws idempotency-conflict when the key was used for another request.
 */
export async function rememberRequest(
  tx: Transaction,
  request: RequestKey | null,
  resourceId: string,
): Promise<string | null> {
  if (request === null) return null;
  const inserted = await tx
    .insert(idempotencyKeys)
    .values({ ...request, resourceId })
    .onConflictDoNothing()
    .returning({ key: idempotencyKeys.key });
  if (inserted.length > 0) return null;
  return await findRequest(tx, request);
}

/** What an earlier request with the key created; null for a new one. @throws idempotency-conflict */
export async function findRequest(db: Queryable, request: RequestKey): Promise<string | null> {
  const [first] = await db
    .select()
    .from(idempotencyKeys)
    .where(and(eq(idempotencyKeys.tokenId, request.tokenId), eq(idempotencyKeys.key, request.key)));
  if (first === undefined) return null;
  if (first.route === request.route && first.bodySha256 === request.bodySha256) return first.resourceId;
  throw idempotencyConflict(request.key);
}

export function idempotencyConflict(key: string): DomainError {
  return new DomainError(
    'idempotency-conflict',
    `The Idempotency-Key "${key}" was used for another request. Send the same body again, or take a new key.`,
  );
}
