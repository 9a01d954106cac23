// What an S3 server's errors mean. All of them are trouble in the world, except that an object is not there.
import { DomainError } from '#core/errors.ts';
import { StorageFullError, StorageUnavailableError } from '#storage/blob-store.ts';

interface Where {
  shown: string;
}

interface S3Failure {
  name?: string;
  code?: string;
  message?: string;
  $metadata?: { httpStatusCode?: number };
}

const full = new Set([
  'InsufficientStorage',
  'QuotaExceeded',
  'ServiceQuotaExceeded',
  'StorageFull',
  'XMinioStorageFull',
]);
const wrongCredentials = new Set([
  'InvalidAccessKeyId',
  'SignatureDoesNotMatch',
  'InvalidToken',
  'InvalidClientTokenId',
  // versitygw, with status 404.
  'XAdminUserNotFound',
  'ExpiredToken',
  'TokenRefreshRequired',
]);
const wrongRegion = new Set([
  'PermanentRedirect',
  'AuthorizationHeaderMalformed',
  'IllegalLocationConstraintException',
]);
const wrongCertificate = /certificate|UNABLE_TO_VERIFY|SELF_SIGNED|CERT_/i;

/** The error as callers know it, with the S3 server's own as its cause. */
export function troubleOf(where: Where, error: unknown): Error {
  const isOurs =
    error instanceof DomainError || error instanceof StorageFullError || error instanceof StorageUnavailableError;
  if (isOurs) return error;
  const failure = error as S3Failure;
  if (full.has(failure.name ?? '') || statusOf(error) === 507) return new StorageFullError(`the ${where.shown}`, error);
  return new StorageUnavailableError(sentence(where, failure), error, isAway(failure));
}

function isAway(failure: S3Failure): boolean {
  const status = statusOf(failure);
  if (status !== undefined) return status >= 500;
  return failure.name !== 'CredentialsProviderError' && !isUntrusted(failure);
}

function isUntrusted({ code, message }: S3Failure): boolean {
  return wrongCertificate.test(`${code ?? ''} ${message ?? ''}`);
}

function sentence({ shown }: Where, failure: S3Failure): string {
  const { name = 'an error', message = '', code } = failure;
  const status = statusOf(failure);
  if (name === 'NoSuchBucket') return `There is no ${shown}. Create it, or correct ASSAY_S3_BUCKET.`;
  if (wrongCredentials.has(name))
    return `The server of ${shown} does not know these credentials (${name}). Correct ASSAY_S3_ACCESS_KEY_ID and ASSAY_S3_SECRET_ACCESS_KEY.`;
  if (name === 'CredentialsProviderError')
    return `There are no credentials for ${shown}. Set ASSAY_S3_ACCESS_KEY_ID and ASSAY_S3_SECRET_ACCESS_KEY, or give this machine a role.`;
  if (name === 'RequestTimeTooSkewed')
    return `The clock of this machine differs too much from that of ${shown}. Correct it, for example by NTP.`;
  if (wrongRegion.has(name) || status === 301)
    return `The ${shown} is in another region (${name}). Correct ASSAY_S3_REGION.`;
  if (status === 403)
    return `These credentials may not use ${shown} (${name}). Allow them to list, get, put and delete objects and to abort uploads there.`;
  if (status === undefined && isUntrusted(failure))
    return `The certificate of ${shown} is not trusted (${code ?? message}). Give its authority in ASSAY_EXTRA_CA.`;
  if (name === 'TimeoutError')
    return `The server of ${shown} says nothing any more. See that it runs and can be reached.`;
  if (status === undefined)
    return `The server of ${shown} does not answer (${code ?? (message || name)}). See that it runs and that ASSAY_S3_ENDPOINT is right.`;
  return `The server of ${shown} answered HTTP ${status} ${name}${message === '' || message === name ? '' : `: ${message.replace(/\.+$/, '')}`}. Its own log says why.`;
}

export function statusOf(error: unknown): number | undefined {
  return (error as S3Failure).$metadata?.httpStatusCode;
}

export function isNamed(error: unknown, ...names: string[]): boolean {
  return error instanceof Error && names.includes(error.name);
}

/** Somebody has put the object meanwhile. */
export function isThereAlready(error: unknown): boolean {
  return statusOf(error) === 412;
}
