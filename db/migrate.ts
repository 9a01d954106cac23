// Brings a database to this build's schema. Many processes may start at once: one migrates, the others wait.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { drizzle } from 'drizzle-orm/node-postgres';
import { migrate as applyMigrations } from 'drizzle-orm/node-postgres/migrator';
import pg from 'pg';

const folder = fileURLToPath(new URL('./migrations', import.meta.url));
/** Any constant that nothing else in the database uses. */
const migrationLock = 4_207_301;
const applicationRole = 'assay_app';
const appendOnly = ['lake_segments', 'dataset_versions', 'dataset_files', 'promotions', 'audit', 'signing_keys'];

/**
 * Applies the migrations as the owner and grants the application role what it needs when that role exists.
 * Refuses a database whose schema is newer than this build knows.
 */
export async function migrate(ownerUrl: string): Promise<void> {
  const client = new pg.Client({ connectionString: ownerUrl });
  // The query that is under way reports a lost connection.
  client.on('error', () => undefined);
  await client.connect();
  try {
    await client.query('select pg_advisory_lock($1)', [migrationLock]);
    await refuseNewerSchema(client);
    await applyMigrations(drizzle(client), { migrationsFolder: folder });
    await grantApplication(client);
  } finally {
    await client.end();
  }
}

async function refuseNewerSchema(client: pg.Client): Promise<void> {
  const journal = JSON.parse(readFileSync(`${folder}/meta/_journal.json`, 'utf8')) as {
    entries: Array<{ when: number }>;
  };
  const newestKnown = journal.entries.at(-1)?.when ?? 0;
  const exists = await client.query(`select to_regclass('drizzle.__drizzle_migrations') as found`);
  if (exists.rows[0]?.found === null) return;
  const newest = await client.query('select max(created_at)::bigint as at from drizzle.__drizzle_migrations');
  const found = Number(newest.rows[0]?.at ?? 0);
  if (found > newestKnown) {
    throw new Error(
      `The database has a newer schema (${new Date(found).toISOString()}) than this build of Assay knows (${new Date(newestKnown).toISOString()}). Start the newer build, or restore a backup made before the upgrade.`,
    );
  }
}

async function grantApplication(client: pg.Client): Promise<void> {
  const role = await client.query('select 1 from pg_roles where rolname = $1', [applicationRole]);
  if (role.rowCount === 0) return;
  await client.query(`
    grant usage on schema public to ${applicationRole};
    grant select, insert, update, delete on all tables in schema public to ${applicationRole};
    grant usage, select on all sequences in schema public to ${applicationRole};
    revoke update, delete, truncate on ${appendOnly.join(', ')} from ${applicationRole};
  `);
}
