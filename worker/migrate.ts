// `npm run migrate`: brings the database to this build's schema and registers the namespace. Safe to repeat.
import { Connection } from '@temporalio/client';
import { readTeamConfig } from '#config/config.ts';
import { ConfigError } from '#config/env.ts';
import { migrate } from '#db/migrate.ts';
import { ensureNamespace } from './temporal/namespace.ts';

try {
  const { database, temporal } = readTeamConfig();
  if (database.ownerUrl === null)
    throw new ConfigError(['ASSAY_DATABASE_OWNER_URL is not set: migrations run as the role that owns the tables.']);
  await migrate(database.ownerUrl);
  const connection = await Connection.connect({ address: temporal.address });
  await ensureNamespace(connection, temporal.namespace);
  await connection.close();
  console.log(`The database and the namespace ${temporal.namespace} are ready.`);
} catch (error) {
  console.error(error instanceof ConfigError ? error.message : error);
  process.exit(1);
}
