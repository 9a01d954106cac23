// Sealing at rest: AES-256-GCM. A sealed value names the place it belongs to, and opens nowhere else.
import { createCipheriv, createDecipheriv, type KeyObject, randomBytes } from 'node:crypto';

const nonceBytes = 12;
const tagBytes = 16;

/** What the value is and whose, for example `['assay-secret', projectId, name, version]`; persisted by being sealed in. */
export type SealedPlace = readonly [kind: string, ...of: (string | number)[]];

/** 12-byte nonce, ciphertext, 16-byte tag. */
export function seal(key: KeyObject, place: SealedPlace, value: string): Buffer {
  const nonce = randomBytes(nonceBytes);
  const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(bytesOf(place));
  return Buffer.concat([nonce, cipher.update(value, 'utf8'), cipher.final(), cipher.getAuthTag()]);
}

/** Throws when the value was sealed with another key, for another place, or was changed. */
export function unseal(key: KeyObject, place: SealedPlace, sealed: Buffer): string {
  const nonce = sealed.subarray(0, nonceBytes);
  const tag = sealed.subarray(sealed.length - tagBytes);
  const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: tagBytes })
    .setAAD(bytesOf(place))
    .setAuthTag(tag);
  return decipher.update(sealed.subarray(nonceBytes, -tagBytes), undefined, 'utf8') + decipher.final('utf8');
}

function bytesOf(place: SealedPlace): Buffer {
  return Buffer.from(JSON.stringify(place));
}
