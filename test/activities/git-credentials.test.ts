import { createSecretKey, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { gitCredentials, gitSecretName } from '#activities/git-credentials.ts';
import { type Connection, connect } from '#db/connect.ts';
import { newId } from '#db/ids.ts';
import { projects } from '#db/schema/projects.ts';
import { setSecret } from '#db/secrets.ts';
import { createTestDatabase, type TestDatabase } from '../support/postgres.ts';

let database: TestDatabase;
let connection: Connection;
const secretsKey = createSecretKey(randomBytes(32));
const projectId = newId();

beforeAll(async () => {
  database = await createTestDatabase();
  connection = connect(database.appUrl);
  await connection.db.insert(projects).values({ id: projectId, name: 'private', createdBy: 'ada' });
});

afterAll(async () => {
  await connection.close();
  await database.drop();
});

const store = (host: string, value: string) =>
  setSecret(connection.db, secretsKey, { projectId, name: gitSecretName(host), value, by: 'ada' });
const find = (host: string) => gitCredentials({ db: connection.db, secretsKey }, projectId, host);

it('a host without a secret of its name is asked without a login', async () => {
  expect(await find('git.example.org')).toBeNull();
});

it('a login, a token alone and a private key are told apart', async () => {
  await store('github.com', 'ada:t0ken:with-colon');
  await store('git.example.org', 'only-a-token');
  await store('ssh.example.org', '-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n-----END OPENSSH PRIVATE KEY-----');
  expect(await find('github.com')).toEqual({ kind: 'https', username: 'ada', password: 't0ken:with-colon' });
  expect(await find('git.example.org')).toEqual({ kind: 'https', username: 'token', password: 'only-a-token' });
  expect(await find('ssh.example.org')).toMatchObject({
    kind: 'ssh',
    privateKey: expect.stringMatching(/KEY-----\n$/),
  });
});
