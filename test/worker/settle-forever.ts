// A process that settles deliveries until it is killed: `node settle-forever.ts DATABASE_URL MIRRORS_DIR`.
import { connect } from '#db/connect.ts';
import { createMirrors } from '#git/mirror.ts';
import { createLogger } from '#worker/logger.ts';
import { startSettlingDeliveries } from '#worker/pushes/settle-deliveries.ts';

const [, , databaseUrl = '', rootDir = ''] = process.argv;
const limits = { sizeBytesMax: 64 * 1024 ** 2, filesMax: 1000, timeoutMs: 30_000 };
startSettlingDeliveries({
  connection: connect(databaseUrl, { connectionsMax: 4 }),
  mirrors: createMirrors({ rootDir, limits, allowPrivateRemotes: false }),
  log: createLogger('silent'),
});
process.stdout.write('settling\n');
