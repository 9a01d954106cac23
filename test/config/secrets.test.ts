import { chmod, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { readSecrets } from '#config/secrets.ts';

let home: string;

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'assay-secrets-'));
});

afterEach(() => rm(home, { recursive: true, force: true }));

test('the first start creates a key that only its owner may read, and later starts find the same', async () => {
  const first = await readSecrets(home);
  const second = await readSecrets(home);
  expect(second.sealingKey.equals(first.sealingKey)).toBe(true);
  expect(first.sealingKey.symmetricKeySize).toBe(32);
  expect((await stat(join(home, 'secret.key'))).mode & 0o777).toBe(0o600);
});

test('starts at the same moment agree on one key', async () => {
  const keys = await Promise.all([readSecrets(home), readSecrets(home)]);
  expect(keys[0]?.sealingKey.equals(keys[1]?.sealingKey as never)).toBe(true);
});

test('a key that others may read is refused', async () => {
  await readSecrets(home);
  await chmod(join(home, 'secret.key'), 0o644);
  await expect(readSecrets(home)).rejects.toThrow('run chmod 600');
});

test('a damaged key is refused and never replaced', async () => {
  await writeFile(join(home, 'secret.key'), 'short\n', { mode: 0o600 });
  await expect(readSecrets(home)).rejects.toThrow('restore it from a backup');
});

test('neither the key nor the credentials of the bucket show when they are printed', async () => {
  const given = { ASSAY_S3_ACCESS_KEY_ID: 'AKIA', ASSAY_S3_SECRET_ACCESS_KEY: 'hunter2' };
  const secrets = await readSecrets(home, given);
  expect(JSON.stringify(secrets)).toBe('{"sealingKey":{}}');
  expect(inspect(secrets, { depth: null })).not.toMatch(/AKIA|hunter2/);
  expect(secrets.s3Credentials?.()).toEqual({ accessKeyId: 'AKIA', secretAccessKey: 'hunter2' });
});
