// The key that signs statements. Its private half is a file that only control workers read; its public half is a row.
import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { ConfigError } from '#config/env.ts';
import { createKeyFile, requirePrivate } from '#config/key-file.ts';
import type { Database } from '#db/connect.ts';
import { listSigningKeys, registerSigningKey, withSigningKeyLock } from '#db/signing-keys.ts';
import { createSigner, type Signer } from '#proof/envelope.ts';

/**
 * The key in the file, registered. The first start of all makes one; later starts never do, because a worker that made
 * another where the file is lost, or that starts on a machine without it, would sign as somebody whom nobody knows.
 * @throws ConfigError when the file is missing, damaged or readable by others.
 */
export async function openSigningKey(db: Database, path: string): Promise<Signer> {
  return await withSigningKeyLock(db, async (tx) => {
    const [newest] = await listSigningKeys(tx);
    if (newest === undefined) await createKeyFile(path, newKey);
    const signer = createSigner(await readKey(path, newest?.keyId ?? null));
    await registerSigningKey(tx, signer);
    return signer;
  });
}

async function readKey(path: string, newest: string | null): Promise<KeyObject> {
  const pem = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new ConfigError([
      error.code === 'ENOENT'
        ? lost(path, newest)
        : `${path}, the key that signs statements, cannot be read (${error.code}): ${howToRestore(path)}`,
    ]);
  });
  await requirePrivate(path);
  const key = parseKey(pem);
  if (key?.asymmetricKeyType === 'ed25519') return key;
  throw new ConfigError([`${path} holds no private Ed25519 key in PEM: ${howToRestore(path)}`]);
}

function lost(path: string, newest: string | null): string {
  return `${path} is not there, and this server signs its statements with key ${newest ?? 'none'}: ${howToRestore(path)}`;
}

function howToRestore(path: string): string {
  return `copy it from another control worker or a backup. If it is lost for ever, make a new one with \`openssl genpkey -algorithm ed25519 -out ${path} && chmod 600 ${path}\`: what the old one signed stays verifiable.`;
}

function parseKey(pem: string): KeyObject | null {
  try {
    return createPrivateKey(pem);
  } catch {
    return null; // OpenSSL's words say nothing that the refusal does not.
  }
}

function newKey(): string {
  return generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
}
