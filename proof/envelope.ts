// DSSE: a signature over bytes together with what they are (https://github.com/secure-systems-lab/dsse, protocol v1).
import { createHash, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { canonicalJson } from '#core/canonical.ts';
import { DomainError } from '#core/errors.ts';

/** What signs: the private half stays inside. */
export interface Signer {
  keyId: string;
  /** PEM of the public half. */
  publicKey: string;
  sign: (bytes: Buffer) => Buffer;
}

export interface Envelope {
  payloadType: string;
  payload: Buffer;
  keyId: string;
  signature: Buffer;
}

/** @param privateKey Ed25519, whose signatures of equal bytes are equal. */
export function createSigner(privateKey: KeyObject): Signer {
  const publicKey = createPublicKey(privateKey);
  return {
    keyId: keyIdOf(publicKey),
    publicKey: publicPem(publicKey),
    sign: (bytes) => sign(null, bytes, privateKey),
  };
}

/** sha256 of the key as SubjectPublicKeyInfo in DER. */
export function keyIdOf(publicKey: KeyObject): string {
  const der = publicKey.export({ type: 'spki', format: 'der' });
  return createHash('sha256').update(der).digest('hex');
}

export function publicPem(publicKey: KeyObject): string {
  return publicKey.export({ type: 'spki', format: 'pem' }).toString();
}

/** @throws DomainError for anything but the public half of an Ed25519 key. */
export function readPublicKey(pem: string, name: string): KeyObject {
  const key = parseKey(pem);
  if (key?.asymmetricKeyType === 'ed25519') return key;
  throw new DomainError(
    'invalid-request',
    `${name} is not the public half of an Ed25519 key. Expected a PEM that begins with "-----BEGIN PUBLIC KEY-----"; the server lists its own at /api/v1/keys.`,
  );
}

function parseKey(pem: string): KeyObject | null {
  if (!pem.includes('-----BEGIN PUBLIC KEY-----')) return null;
  try {
    return createPublicKey(pem);
  } catch {
    return null; // OpenSSL's words say nothing that the refusal does not.
  }
}

/** Pre-authentication encoding: the exact bytes that are signed. */
export function encodePae(payloadType: string, payload: Buffer): Buffer {
  const type = Buffer.from(payloadType);
  return Buffer.concat([Buffer.from(`DSSEv1 ${type.length} `), type, Buffer.from(` ${payload.length} `), payload]);
}

/** The envelope as one line of canonical JSON. */
export function sealEnvelope(signer: Signer, payloadType: string, payload: Buffer): Buffer {
  const signature = signer.sign(encodePae(payloadType, payload));
  return encodeEnvelope({ payloadType, payload, keyId: signer.keyId, signature });
}

function encodeEnvelope({ payloadType, payload, keyId, signature }: Envelope): Buffer {
  const signatures = [{ keyid: keyId, sig: signature.toString('base64') }];
  return Buffer.from(`${canonicalJson({ payloadType, payload: payload.toString('base64'), signatures })}\n`);
}

/** Null when the bytes are not exactly those that `sealEnvelope` would have written. */
export function openEnvelope(bytes: Buffer): Envelope | null {
  const given = parseJson(bytes) as {
    payloadType?: unknown;
    payload?: unknown;
    signatures?: Array<{ keyid?: unknown; sig?: unknown }>;
  } | null;
  const [first] = Array.isArray(given?.signatures) ? given.signatures : [];
  const envelope = {
    payloadType: String(given?.payloadType),
    payload: Buffer.from(String(given?.payload), 'base64'),
    keyId: String(first?.keyid),
    signature: Buffer.from(String(first?.sig), 'base64'),
  };
  return encodeEnvelope(envelope).equals(bytes) ? envelope : null;
}

export function isSignedBy({ payloadType, payload, signature }: Envelope, publicKey: KeyObject): boolean {
  return verify(null, encodePae(payloadType, payload), publicKey, signature);
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    return null;
  }
}
