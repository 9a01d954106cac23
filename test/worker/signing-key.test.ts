import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { connect, type Connection } from '#db/connect.ts';
import { signingKeys } from '#db/schema/signing-keys.ts';
import { listSigningKeys } from '#db/signing-keys.ts';
import { createTestDatabase } from '#test/support/postgres.ts';
import { openSigningKey } from '#worker/signing-key.ts';

let database: Awaited<ReturnType<typeof createTestDatabase>>;
let connection: Connection;
let home: string;
let path: string;

beforeEach(async () => {
  database = await createTestDatabase();
  connection = connect(database.appUrl);
  home = await mkdtemp(join(tmpdir(), 'assay-key-'));
  path = join(home, 'deep', 'signing.key');
});

afterEach(async () => {
  await connection.close();
  await database.drop();
  await rm(home, { recursive: true, force: true });
});

test('workers that start at once make one key, registered and readable by its owner alone', async () => {
  const signers = await Promise.all(Array.from({ length: 5 }, () => openSigningKey(connection.db, path)));
  const keys = await listSigningKeys(connection.db);
  expect(keys).toHaveLength(1);
  for (const { keyId, publicKey } of signers) expect(keys).toMatchObject([{ keyId, publicKey }]);
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  expect(await readdir(join(home, 'deep'))).toEqual(['signing.key']);
  expect(inspect(signers, { depth: null, showHidden: true })).not.toContain('PRIVATE');
});

test('of two with a file each one makes the key, and the other asks for that file', async () => {
  const found = await Promise.allSettled([
    openSigningKey(connection.db, path),
    openSigningKey(connection.db, join(home, 'elsewhere.key')),
  ]);
  expect(found.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
  const refused = found.find((one) => one.status === 'rejected');
  expect(String(refused?.reason)).toContain('copy it from another control worker or a backup');
  expect(await connection.db.$count(signingKeys)).toBe(1);
});

test('a key that is lost, damaged or open to others is refused and never replaced', async () => {
  const { keyId } = await openSigningKey(connection.db, path);
  const pem = await readFile(path);
  await rm(path);
  await expect(openSigningKey(connection.db, path)).rejects.toThrow(`signs its statements with key ${keyId}`);
  expect(await stat(path).catch(() => null)).toBeNull();
  await writeFile(path, 'no key\n', { mode: 0o600 });
  await expect(openSigningKey(connection.db, path)).rejects.toThrow('holds no private Ed25519 key');
  await writeFile(path, pem);
  await chmod(path, 0o640);
  await expect(openSigningKey(connection.db, path)).rejects.toThrow(`chmod 600 ${path}`);
  await chmod(path, 0o600);
  expect((await openSigningKey(connection.db, path)).keyId).toBe(keyId);
  expect(await connection.db.$count(signingKeys)).toBe(1);
});

test("nobody who has the application's role changes or removes a key that once signed", async () => {
  await openSigningKey(connection.db, path);
  await expect(connection.db.delete(signingKeys)).rejects.toThrow();
  await expect(connection.db.update(signingKeys).set({ publicKey: 'another' })).rejects.toThrow();
});
