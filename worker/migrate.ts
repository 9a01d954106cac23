// `npm run migrate`: brings the database to this build's schema, registers the namespace and makes the bucket. Safe to repeat.
import { Connection } from '@temporalio/client';
import { readTeamConfig } from '#config/config.ts';
import { ConfigError, readEnvironment } from '#config/env.ts';
import { readSecrets } from '#config/secrets.ts';
import { migrate } from '#db/migrate.ts';
import { makeBucket } from '#storage/s3.ts';
import { s3Options } from './parts.ts';
import { ensureNamespace } from './temporal/namespace.ts';

try {
  const env = readEnvironment();
  const config = readTeamConfig(env);
  const { database, temporal, storage } = config;
  if (database.ownerUrl === null)
    throw new ConfigError(['ASSAY_DATABASE_OWNER_URL is not set: migrations run as the role that owns the tables.']);
  await migrate(database.ownerUrl);
  const connection = await Connection.connect({ address: temporal.address });
  await ensureNamespace(connection, temporal.namespace);
  await connection.close();
  if (storage.kind === 's3') {
    const made = await makeBucket(await s3Options(config, storage, await readSecrets(config.home, env)));
    if (made === 'made') console.log(`The bucket ${storage.bucket} was made.`);
  }
  console.log(`The database and the namespace ${temporal.namespace} are ready.`);
} catch (error) {
  console.error(error instanceof ConfigError ? error.message : error);
  process.exit(1);
}
