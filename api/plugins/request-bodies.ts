// What a body may be: JSON where the contract has a schema, raw bytes where it says so, nothing else. One schema per
// route and never one per content type, so that no spelling of the content type changes what is checked.
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { DomainError } from '#core/errors.ts';
import { HttpError } from '#api/problems.ts';

const depthMax = 40;

export function checkRequestBodies(app: FastifyInstance): void {
  app.removeContentTypeParser('text/plain');
  // The handler reads the stream, with a cap of its own.
  app.addContentTypeParser('application/octet-stream', async (_request: FastifyRequest, payload: unknown) => payload);
  app.addHook('preValidation', async (request) => {
    const { contract } = request.routeOptions.config;
    if (contract === undefined) return;
    requireMediaType(request, contract);
    refuseUnstorable(request.params, 'params', 0);
    refuseUnstorable(request.query, 'query', 0);
    if (contract.rawBody === undefined) refuseUnstorable(request.body, 'body', 0);
  });
}

function requireMediaType(request: FastifyRequest, { body, rawBody }: { body?: unknown; rawBody?: string }): void {
  const wanted = rawBody ?? (body === undefined ? null : 'application/json');
  const found = (request.headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase();
  if (wanted === null || found === wanted) return;
  throw new HttpError(
    'unsupported-media-type',
    `The body has the content type "${(found ?? '').slice(0, 100)}", expected ${wanted}.`,
  );
}

/** PostgreSQL stores neither NUL nor half a surrogate pair, and nothing here needs deep nesting or infinite numbers. */
function refuseUnstorable(value: unknown, path: string, depth: number): void {
  if (typeof value === 'string') {
    if (value.includes('\0')) throw invalid(path, 'a text must not contain the character NUL');
    if (!value.isWellFormed()) throw invalid(path, 'a text must be valid Unicode, without half of a surrogate pair');
    return;
  }
  if (typeof value === 'number' && !Number.isFinite(value)) throw invalid(path, 'the number is too large');
  if (typeof value !== 'object' || value === null) return;
  if (depth === depthMax) throw invalid(path, `values may be nested ${depthMax} deep`);
  for (const [key, item] of Object.entries(value)) {
    refuseUnstorable(key, path, depth);
    refuseUnstorable(item, `${path}.${key}`, depth + 1);
  }
}

function invalid(path: string, message: string): DomainError {
  const short = path.slice(0, 200);
  return new DomainError('invalid-request', `${short}: ${message}.`, [{ path: short, message }]);
}
