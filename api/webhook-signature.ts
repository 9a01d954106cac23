// Whether a delivery was sent by somebody who knows the project's webhook secret. Nothing is parsed before that is known.
import { createHmac, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import type { HostKind } from '#core/push.ts';

/** How far a signed timestamp may be from the server's clock, both ways. */
const clockSkewSecondsMax = 300;
const signaturesMax = 8;

export interface Signed {
  headers: IncomingHttpHeaders;
  /** The bytes as they came. */
  body: Buffer;
}

type Check = (signed: Signed, secret: string) => boolean;

/**
 * One rule per host. A newer form of a signature that is present is the one that counts: a wrong one is not rescued by
 * an older form beside it.
 */
const checks: Record<HostKind | 'generic', Check> = {
  github: (signed, secret) => {
    const given = header(signed, 'x-hub-signature-256');
    return given.startsWith('sha256=') && isHexDigest(signed, secret, given.slice('sha256='.length));
  },
  gitea: (signed, secret) =>
    isHexDigest(signed, secret, header(signed, 'x-forgejo-signature') || header(signed, 'x-gitea-signature')),
  gitlab: (signed, secret) =>
    signed.headers['webhook-signature'] === undefined
      ? isSame(header(signed, 'x-gitlab-token'), secret)
      : isStandard(signed, secret),
  generic: isStandard,
};

/** Every secret is tried, also after one fitted, so that the time tells nothing. */
export function isSignedBy(source: HostKind | 'generic', signed: Signed, secrets: readonly string[]): boolean {
  return secrets.map((secret) => checks[source](signed, secret)).includes(true);
}

/**
 * The timestamp of the Standard Webhooks specification is old, of the future or no number. GitHub, Gitea and GitLab's
 * plain token sign none; their deliveries are told apart by their ids alone.
 */
export function isOutOfTime(source: HostKind | 'generic', signed: Signed, nowMs: number): boolean {
  const hasTimestamp =
    source === 'generic' || (source === 'gitlab' && signed.headers['webhook-signature'] !== undefined);
  if (!hasTimestamp) return false;
  const text = header(signed, 'webhook-timestamp');
  return !/^\d{1,12}$/.test(text) || Math.abs(nowMs / 1_000 - Number(text)) > clockSkewSecondsMax;
}

/** https://www.standardwebhooks.com: base64 HMAC-SHA256 of `id.timestamp.body`, under the bytes after `whsec_`. */
function isStandard(signed: Signed, secret: string): boolean {
  const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
  const hmac = createHmac('sha256', key);
  hmac.update(`${header(signed, 'webhook-id')}.${header(signed, 'webhook-timestamp')}.`).update(signed.body);
  const expected = `v1,${hmac.digest('base64')}`;
  const given = header(signed, 'webhook-signature').split(' ').slice(0, signaturesMax);
  return given.map((one) => isSame(one, expected)).includes(true);
}

function isHexDigest({ body }: Signed, secret: string, given: string): boolean {
  return isSame(given, createHmac('sha256', secret).update(body).digest('hex'));
}

/** In constant time for texts of one length; the length itself is no secret. */
function isSame(given: string, expected: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(expected)];
  return timingSafeEqual(a.length === b.length ? a : Buffer.alloc(b.length), b) && a.length === b.length;
}

/** Node joins repeated headers with a comma, which no signature survives. */
function header({ headers }: Signed, name: string): string {
  return String(headers[name] ?? '');
}
