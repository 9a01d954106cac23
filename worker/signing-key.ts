// The key that signs statements. Its private half is a file that only control workers read; its public half is a row.
import { createPrivateKey, generateKeyPairSync, type KeyObject, randomUUID } from 'node:crypto';
import { link, mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ConfigError } from '#config/env.ts';
import type { Database } from '#db/connect.ts';
import { listSigningKeys, registerSigningKey, withSigningKeyLock } from '#db/signing-keys.ts';
import { createSigner, type Signer } from '#proof/envelope.ts';

const readableByOthers = 0o077;

/**
 * The key in the file, registered. The first start of all makes one; later starts never do, because a worker that made
 * another where the file is lost, or that starts on a machine without it, would sign as somebody whom nobody knows.
 * @throws ConfigError when the file is missing, damaged or readable by others.
 */
export async function openSigningKey(db: Database, path: string): Promise<Signer> {
  return await withSigningKeyLock(db, async (tx) => {
    const [newest] = await listSigningKeys(tx);
    if (newest === undefined) await createOnce(path);
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
  if (((await stat(path)).mode & readableByOthers) !== 0) {
    throw new ConfigError([`${path} may be read by others: run chmod 600 ${path}.`]);
  }
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

/** A finished file is linked into place, so that a start that dies half way leaves no half of a key. */
async function createOnce(path: string): Promise<void> {
  if (await stat(path).catch(() => null)) return;
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const draft = `${path}.${randomUUID()}`;
  const { privateKey } = generateKeyPairSync('ed25519');
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' });
  await writeFile(draft, pem, { mode: 0o600, flag: 'wx', flush: true });
  try {
    await link(draft, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    await rm(draft, { force: true });
  }
}
