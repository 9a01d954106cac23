// Step 3: what must never be printed, kept apart from the configuration, which may be.
import { createSecretKey, type KeyObject, randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ConfigError, type Environment } from './env.ts';
import { createKeyFile, requirePrivate } from './key-file.ts';

export interface Secrets {
  /** AES-256 key that seals the projects' secrets. A KeyObject does not show its bytes when it is printed. */
  sealingKey: KeyObject;
  /** A function, so that they do not show when this is printed; null where the machine has credentials of its own. */
  s3Credentials: (() => S3Credentials) | null;
}

export interface S3Credentials {
  accessKeyId: string;
  secretAccessKey: string;
}

type SecretVariables = 'ASSAY_SECRET_KEY' | 'ASSAY_S3_ACCESS_KEY_ID' | 'ASSAY_S3_SECRET_ACCESS_KEY';

const keyBytes = 32;

/**
 * The key of ASSAY_SECRET_KEY, else of `secret.key` in the home, which is created on the first start.
 * @throws ConfigError when the file is damaged or others may read it. It is never replaced: what it sealed would be lost.
 */
export async function readSecrets(home: string, env: Pick<Environment, SecretVariables> = {}): Promise<Secrets> {
  const { ASSAY_SECRET_KEY: given } = env;
  return {
    sealingKey: given === undefined ? await keptKey(home) : givenKey(given),
    s3Credentials: givenCredentials(env),
  };
}

function givenCredentials({
  ASSAY_S3_ACCESS_KEY_ID: accessKeyId,
  ASSAY_S3_SECRET_ACCESS_KEY: secretAccessKey,
}: Pick<Environment, SecretVariables>): Secrets['s3Credentials'] {
  if (accessKeyId === undefined || secretAccessKey === undefined) return null;
  return () => ({ accessKeyId, secretAccessKey });
}

async function keptKey(home: string): Promise<KeyObject> {
  const path = join(home, 'secret.key');
  await createKeyFile(path, () => `${randomBytes(keyBytes).toString('base64')}\n`);
  await requirePrivate(path);
  const key = Buffer.from((await readFile(path, 'utf8')).trim(), 'base64');
  if (key.length !== keyBytes) {
    throw new ConfigError([`${path} holds ${key.length} bytes instead of ${keyBytes}: restore it from a backup.`]);
  }
  return createSecretKey(key);
}

function givenKey(text: string): KeyObject {
  const key = Buffer.from(text, 'base64');
  if (key.length === keyBytes) return createSecretKey(key);
  throw new ConfigError([
    `ASSAY_SECRET_KEY holds ${key.length} bytes, expected ${keyBytes} in base64: make one with \`openssl rand -base64 32\`.`,
  ]);
}
