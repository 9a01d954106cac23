// The Idempotency-Key header and what it stands for.
import { createHash } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import { canonicalJson, type Json } from '#core/canonical.ts';
import { DomainError } from '#core/errors.ts';
import type { RequestKey } from '#db/idempotency.ts';

const keyPattern = /^[\x21-\x7e]{1,200}$/;

/**
 * Null without the header. The same body in another spelling (key order, white space) is the same body. Requests whose
 * body is not JSON give their digest as `body`.
 * @throws invalid-request for a key that is not 1 to 200 visible ASCII characters.
 */
export function requestKey(request: FastifyRequest, body: unknown = request.body): RequestKey | null {
  const header = request.headers['idempotency-key'];
  if (header === undefined) return null;
  const key = String(header);
  if (!keyPattern.test(key)) {
    const message = 'expected 1 to 200 visible ASCII characters, for example a UUID';
    throw new DomainError('invalid-request', `Idempotency-Key: ${message}.`, [
      { path: 'headers.idempotency-key', message },
    ]);
  }
  const { method, routeOptions, params, principal } = request;
  const target = canonicalJson({ ...(params as Record<string, Json>) });
  return {
    tokenId: principal.tokenId,
    key,
    route: `${method} ${routeOptions.url} ${target}`,
    bodySha256: createHash('sha256').update(bodyText(body)).digest('hex'),
  };
}

function bodyText(body: unknown): string {
  try {
    return canonicalJson((body ?? null) as Json);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new DomainError('invalid-request', `The body has no unique spelling: ${error.message}.`, [
      { path: 'body', message: error.message },
    ]);
  }
}
