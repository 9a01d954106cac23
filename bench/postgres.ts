// A durable Postgres of its own for a benchmark that needs no Temporal.
import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { migrate } from '#db/migrate.ts';
import { startGuard } from '#embedded/guard.ts';
import { freePort } from '#embedded/ports.ts';
import { postgresOn, preparePostgres } from '#embedded/postgres.ts';

/** `use` gets the address for the application's role; the server is gone afterwards. */
export async function withPostgres<T>(dir: string, use: (appUrl: string) => Promise<T>): Promise<T> {
  const home = join(dir, 'home');
  await mkdir(join(home, 'logs'), { recursive: true });
  // The database may run as another user, which has to get through.
  await chmod(dir, 0o711);
  const guard = await startGuard({ python: process.env['ASSAY_PYTHON'] ?? 'python3' });
  try {
    const postgres = postgresOn(await preparePostgres(home), await freePort());
    guard.start(postgres.service);
    await Promise.race([postgres.ready(), guard.failure]);
    await migrate(postgres.urls.owner);
    return await use(postgres.urls.app);
  } finally {
    await guard.stop();
  }
}
