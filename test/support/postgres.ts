import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { inject } from 'vitest';
import { migrate } from '#db/migrate.ts';
import type { DatabaseUrls } from '#embedded/postgres.ts';

const template = 'assay_template';
/** Any constant that nothing else on the test server uses. */
const templateLock = 77_001;

export interface TestDatabase {
  ownerUrl: string;
  appUrl: string;
  /** Closes what is still connected and removes the database. */
  drop(): Promise<void>;
}

/** A migrated, empty database of its own, cloned from a template: about 50 ms. Use one per test file. */
export async function createTestDatabase(): Promise<TestDatabase> {
  const urls = await serverUrls();
  const name = `test_${randomUUID().replaceAll('-', '')}`;
  await asAdmin(urls, async (admin) => {
    await admin.query('select pg_advisory_lock($1)', [templateLock]);
    await ensureTemplate(admin, urls);
    await admin.query(`create database ${name} template ${template} owner assay_owner`);
  });
  return {
    ownerUrl: withDatabase(urls.owner, name),
    appUrl: withDatabase(urls.app, name),
    drop: () =>
      asAdmin(urls, async (admin) => void (await admin.query(`drop database if exists ${name} with (force)`))),
  };
}

/** The addresses of the run's PostgreSQL server, which this call starts if no test did so before. */
export async function serverUrls(): Promise<DatabaseUrls> {
  const response = await fetch(`${inject('servicesUrl')}/postgres`);
  if (!response.ok) throw new Error(await response.text());
  return (await response.json()) as DatabaseUrls;
}

/** Holds the advisory lock: the first test file migrates, the others find the template. */
async function ensureTemplate(admin: pg.Client, urls: DatabaseUrls): Promise<void> {
  const found = await admin.query('select 1 from pg_database where datname = $1', [template]);
  if (found.rowCount !== 0) return;
  await admin.query(`drop database if exists ${template}_new`);
  await admin.query(`create database ${template}_new owner assay_owner`);
  await migrate(withDatabase(urls.owner, `${template}_new`));
  await admin.query(`alter database ${template}_new rename to ${template}`);
}

async function asAdmin<T>(urls: DatabaseUrls, use: (admin: pg.Client) => Promise<T>): Promise<T> {
  const admin = new pg.Client({ connectionString: urls.admin });
  await admin.connect();
  try {
    return await use(admin);
  } finally {
    await admin.end();
  }
}

function withDatabase(url: string, name: string): string {
  const changed = new URL(url);
  changed.pathname = `/${name}`;
  return changed.href;
}
