import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '#test/support/postgres.ts';

let database: TestDatabase;
const clients: pg.Client[] = [];

beforeAll(async () => {
  database = await createTestDatabase();
});

afterAll(async () => {
  for (const client of clients) await client.end();
  await database.drop();
});

async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  clients.push(client);
  await client.connect();
  return client;
}

test('the application role owns nothing and is no superuser', async () => {
  const app = await connect(database.appUrl);
  const role = await app.query(
    'select rolsuper, rolcreatedb, rolcreaterole from pg_roles where rolname = current_user',
  );
  expect(role.rows).toEqual([{ rolsuper: false, rolcreatedb: false, rolcreaterole: false }]);
  const owned = await app.query('select count(*)::int as tables from pg_tables where tableowner = current_user');
  expect(owned.rows).toEqual([{ tables: 0 }]);
});

test('the application role cannot create tables', async () => {
  const app = await connect(database.appUrl);
  await expect(app.query('create table mine (id int)')).rejects.toThrow('permission denied');
});

test('a wrong password is refused', async () => {
  const url = new URL(database.appUrl);
  url.password = 'wrong';
  const client = new pg.Client({ connectionString: url.href });
  await expect(client.connect()).rejects.toThrow('password authentication failed');
});

test('the server listens on loopback alone', async () => {
  const owner = await connect(database.ownerUrl);
  const { rows } = await owner.query("select current_setting('listen_addresses') as addresses");
  expect(rows).toEqual([{ addresses: '127.0.0.1' }]);
});
