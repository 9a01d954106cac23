// Step 3: what must never be printed, kept apart from the configuration, which may be.
import { createSecretKey, type KeyObject, randomBytes, randomUUID } from 'node:crypto';
import { link, mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ConfigError, type Environment } from './env.ts';

export interface Secrets {
  /** AES-256 key that seals the projects' secrets. A KeyObject does not show its bytes when it is printed. */
  sealingKey: KeyObject;
}

const keyBytes = 32;
const readableByOthers = 0o077;

/**
 * The key of ASSAY_SECRET_KEY, else of `secret.key` in the home, which is created on the first start.
 * @throws ConfigError when the file is damaged or others may read it. It is never replaced: what it sealed would be lost.
 */
export async function readSecrets(home: string, env: Pick<Environment, 'ASSAY_SECRET_KEY'> = {}): Promise<Secrets> {
  if (env.ASSAY_SECRET_KEY !== undefined) return { sealingKey: givenKey(env.ASSAY_SECRET_KEY) };
  const path = join(home, 'secret.key');
  await createOnce(path);
  if (((await stat(path)).mode & readableByOthers) !== 0) {
    throw new ConfigError([`${path} may be read by others: run chmod 600 ${path}.`]);
  }
  const key = Buffer.from((await readFile(path, 'utf8')).trim(), 'base64');
  if (key.length !== keyBytes) {
    throw new ConfigError([`${path} holds ${key.length} bytes instead of ${keyBytes}: restore it from a backup.`]);
  }
  return { sealingKey: createSecretKey(key) };
}

function givenKey(text: string): KeyObject {
  const key = Buffer.from(text, 'base64');
  if (key.length === keyBytes) return createSecretKey(key);
  throw new ConfigError([
    `ASSAY_SECRET_KEY holds ${key.length} bytes, expected ${keyBytes} in base64: make one with \`openssl rand -base64 32\`.`,
  ]);
}

/** Two processes may start at once: linking a finished file into place lets exactly one key win. */
async function createOnce(path: string): Promise<void> {
  if (await exists(path)) return;
  await mkdir(join(path, '..'), { recursive: true, mode: 0o700 });
  const draft = `${path}.${randomUUID()}`;
  await writeFile(draft, `${randomBytes(keyBytes).toString('base64')}\n`, { mode: 0o600, flag: 'wx', flush: true });
  try {
    await link(draft, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    await rm(draft, { force: true });
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return false;
      throw error;
    },
  );
}
