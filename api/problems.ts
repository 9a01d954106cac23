// Every error that leaves the API: application/problem+json, its status from a table that knows every code.
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { hasZodFastifySchemaValidationErrors } from 'fastify-type-provider-zod';
import { type Problem, type ProblemCode, problemType } from '#contract/problems.ts';
import { DomainError, type ErrorDetail } from '#core/errors.ts';
import { isDatabaseUnavailable } from '#db/unavailable.ts';
import { StorageUnavailableError } from '#storage/blob-store.ts';

const statuses = {
  'invalid-request': [400, 'Invalid request'],
  'invalid-project-file': [422, 'Invalid project file'],
  'invalid-parameters': [422, 'Invalid parameters'],
  'no-entry-point': [422, 'No entry point'],
  'not-found': [404, 'Not found'],
  conflict: [409, 'Conflict'],
  'idempotency-conflict': [409, 'Idempotency key used before'],
  unauthenticated: [401, 'Not authenticated'],
  forbidden: [403, 'Not allowed'],
  'run-finished': [409, 'Run finished'],
  'run-not-finished': [409, 'Run not finished'],
  'commit-not-found': [422, 'Commit not found'],
  'invalid-reference': [422, 'Invalid reference'],
  'invalid-remote': [422, 'Invalid remote'],
  'source-refused': [422, 'Source refused'],
  'source-too-large': [413, 'Source too large'],
  'environment-unsupported': [422, 'Environment not supported'],
  'environment-unresolvable': [422, 'Environment can not be resolved'],
  'resources-exhausted': [507, 'Resources exhausted'],
  'secret-missing': [422, 'Secret missing'],
  'pool-missing': [422, 'No pool fits'],
  'shape-mismatch': [409, 'Shape differs from the pool'],
  'network-not-enforceable': [422, 'Network can not be enforced'],
  'outputs-refused': [422, 'Outputs refused'],
  'query-refused': [422, 'Query refused'],
  'query-limit': [422, 'Query over its limits'],
  'as-of-in-future': [422, 'As-of in the future'],
  'table-not-found': [404, 'Table not found'],
  'schema-drift': [422, 'Schema differs'],
  'dataset-not-found': [404, 'Dataset not found'],
  'data-changed': [409, 'Data changed'],
  'data-gone': [409, 'Data gone'],
  'blob-missing': [409, 'Blob missing'],
  'blob-corrupt': [422, 'Blob corrupt'],
  'checkpoint-missing': [422, 'No such checkpoints'],
  'not-reproducible': [409, 'Not reproducible'],
  'gate-failed': [409, 'Gate failed'],
  'not-promotable': [409, 'Not promotable'],
  'champion-moved': [409, 'Champion moved'],
  'precondition-required': [428, 'Precondition required'],
  'payload-too-large': [413, 'Payload too large'],
  'too-many-requests': [429, 'Too many requests'],
  'method-not-allowed': [405, 'Method not allowed'],
  'unsupported-media-type': [415, 'Unsupported media type'],
  'range-not-satisfiable': [416, 'Range not satisfiable'],
  'host-refused': [421, 'Not addressed to this server'],
  unavailable: [503, 'Temporarily unavailable'],
  'internal-error': [500, 'Internal error'],
} as const satisfies Record<ProblemCode, readonly [number, string]>;

export function problemStatus(code: ProblemCode): number {
  return statuses[code][0];
}

/** An error that only HTTP knows. What the domain refuses is a DomainError. */
export class HttpError extends Error {
  readonly code: ProblemCode;
  readonly headers: Readonly<Record<string, string>>;

  constructor(code: ProblemCode, message: string, headers: Readonly<Record<string, string>> = {}) {
    super(message);
    this.name = 'HttpError';
    this.code = code;
    this.headers = headers;
  }
}

interface Refusal {
  code: ProblemCode;
  detail: string;
  errors?: readonly ErrorDetail[];
  headers?: Readonly<Record<string, string>>;
}

export function registerProblems(app: FastifyInstance): void {
  app.setErrorHandler((error: FastifyError, request, reply) => {
    const refusal = refusalOf(error);
    if (problemStatus(refusal.code) >= 500) request.log.error({ err: error, requestId: request.id }, 'request failed');
    return sendProblem(request, reply, refusal);
  });
  const methodsOf = collectMethods(app);
  app.setNotFoundHandler((request, reply) => {
    const [path = ''] = request.url.split('?');
    const allowed = methodsOf(path);
    const refusal: Refusal =
      allowed.length === 0
        ? {
            code: 'not-found',
            detail: `There is no ${request.method} ${path}. GET /api/openapi.json lists what there is.`,
          }
        : {
            code: 'method-not-allowed',
            detail: `Found ${request.method} ${path}, which takes ${allowed.join(', ')}.`,
            headers: { allow: allowed.join(', ') },
          };
    return sendProblem(request, reply, refusal);
  });
}

/** Which methods a path takes, by the routes that are registered from now on. */
function collectMethods(app: FastifyInstance): (path: string) => string[] {
  const registered: Array<{ pattern: RegExp; methods: string[] }> = [];
  app.addHook('onRoute', ({ url, method }) => {
    const parts = url.split(/(:\w+|\*)/).map((part) => {
      if (part.startsWith(':')) return '[^/]+';
      return part === '*' ? '.*' : part.replaceAll(/[.+?^${}()|[\]\\]/g, '\\$&');
    });
    registered.push({ pattern: new RegExp(`^${parts.join('')}$`), methods: [method].flat() });
  });
  return (path) => {
    const found = registered.filter(({ pattern }) => pattern.test(path)).flatMap(({ methods }) => methods);
    return [...new Set(found)].toSorted();
  };
}

function sendProblem(request: FastifyRequest, reply: FastifyReply, refusal: Refusal): FastifyReply {
  const [status, title] = statuses[refusal.code];
  const body: Problem = {
    type: problemType(refusal.code),
    title,
    status,
    code: refusal.code,
    detail: refusal.detail,
    errors: [...(refusal.errors ?? [])],
    requestId: request.id,
  };
  // A download that was refused must not keep the headers of the file.
  for (const name of ['content-length', 'content-disposition', 'etag', 'content-range']) reply.removeHeader(name);
  if (refusal.headers !== undefined) reply.headers(refusal.headers);
  return reply
    .status(status)
    .header('content-type', 'application/problem+json; charset=utf-8')
    .header('cache-control', 'no-store')
    .serializer((value: unknown) => JSON.stringify(value))
    .send(body);
}

function refusalOf(error: FastifyError): Refusal {
  if (error instanceof DomainError) return { code: error.code, detail: error.message, errors: error.details };
  if (error instanceof HttpError) return { code: error.code, detail: error.message, headers: error.headers };
  if (hasZodFastifySchemaValidationErrors(error)) return invalidRequest(error);
  // Before the database: both know the same errors of the network, which this one wraps.
  if (error instanceof StorageUnavailableError)
    return unavailable('The blob store does not answer. Try again in a moment.');
  if (isDatabaseUnavailable(error)) {
    return unavailable('The database does not answer. Nothing was changed; try again in a moment.');
  }
  if (isStorageFull(error)) return unavailable('The blob store has no room left, so nothing was stored.');
  return frameworkRefusal(error);
}

function unavailable(detail: string): Refusal {
  return { code: 'unavailable', detail, headers: { 'retry-after': '2' } };
}

function isStorageFull(error: Error): boolean {
  return 'code' in error && error.code === 'ENOSPC';
}

function invalidRequest(error: FastifyError & { validation: unknown[]; validationContext?: string }): Refusal {
  const where = error.validationContext === 'querystring' ? 'query' : (error.validationContext ?? 'body');
  const errors = (error.validation as Array<{ instancePath: string; message?: string }>).map((issue) => ({
    path: [where, ...issue.instancePath.split('/').filter((part) => part !== '')].join('.'),
    message: issue.message ?? 'not valid',
  }));
  const [first] = errors;
  const detail = first === undefined ? 'The request is not valid.' : `${first.path}: ${first.message}`;
  return { code: 'invalid-request', detail: detail.slice(0, 1000), errors };
}

const byStatus: Readonly<Record<number, ProblemCode>> = {
  413: 'payload-too-large',
  414: 'invalid-request',
  415: 'unsupported-media-type',
  431: 'invalid-request',
};

/** Fastify's own refusals name their status; anything without one is a fault, whose words stay in the log. */
function frameworkRefusal(error: FastifyError): Refusal {
  const status = error.statusCode ?? 500;
  if (status === 503) return unavailable('The server is stopping. Try again in a moment.');
  if (status >= 400 && status < 500) {
    return { code: byStatus[status] ?? 'invalid-request', detail: sentence(error.message) };
  }
  return {
    code: 'internal-error',
    detail: 'Something went wrong inside Assay. The log has the details under this request id.',
  };
}

function sentence(message: string): string {
  return message.endsWith('.') ? message : `${message}.`;
}
