// Expected refusals. Trouble in the world (network, disk) is never a DomainError: it propagates and is retried.

/** Every code is persisted in problem documents and in Temporal failures: chosen once, never renamed. */
export const errorCodes = [
  'invalid-request',
  'invalid-project-file',
  'invalid-parameters',
  'no-entry-point',
  'not-found',
  'conflict',
  'idempotency-conflict',
  'unauthenticated',
  'forbidden',
  'run-finished',
  'run-not-finished',
  'commit-not-found',
  'invalid-reference',
  'invalid-remote',
  'source-refused',
  'source-too-large',
  'environment-unsupported',
  'environment-unresolvable',
  'resources-exhausted',
  'secret-missing',
  'pool-missing',
  'shape-mismatch',
  'network-not-enforceable',
  'outputs-refused',
  'query-refused',
  'query-limit',
  'as-of-in-future',
  'table-not-found',
  'schema-drift',
  'dataset-not-found',
  'data-changed',
  'data-gone',
  'blob-missing',
  'blob-corrupt',
  'checkpoint-missing',
  'not-reproducible',
  'gate-failed',
  'not-promotable',
  'champion-moved',
  'precondition-required',
  'payload-too-large',
  'too-many-requests',
] as const;

export type ErrorCode = (typeof errorCodes)[number];

/** One finding inside a larger refusal, for example one wrong key of a project file. */
export interface ErrorDetail {
  path: string;
  message: string;
  file?: string;
  line?: number;
}

/** An expected, permanent refusal. The message says what was found, what was expected and what to do. */
export class DomainError extends Error {
  readonly code: ErrorCode;
  readonly details: readonly ErrorDetail[];

  constructor(code: ErrorCode, message: string, details: readonly ErrorDetail[] = []) {
    super(message);
    this.name = 'DomainError';
    this.code = code;
    this.details = details;
  }
}
