// A project whose remote is a real repository behind https, with the passes of the control worker around it.
import { createSecretKey } from 'node:crypto';
import { dirname } from 'node:path';
import { and, eq } from 'drizzle-orm';
import type { DeliverySource } from '#core/push.ts';
import { connect } from '#db/connect.ts';
import { createDeliveryIntake } from '#db/deliveries.ts';
import { newId } from '#db/ids.ts';
import { deliveries } from '#db/schema/deliveries.ts';
import { projects } from '#db/schema/projects.ts';
import { runs } from '#db/schema/runs.ts';
import { startGitServer } from '#test/git/https-server.ts';
import { createRepository, openMirrors, type TestMirrors } from '#test/git/repositories.ts';
import { createTestDatabase } from '#test/support/postgres.ts';
import { until } from '#test/support/stack.ts';
import { createLogger } from '#worker/logger.ts';
import { startSettlingDeliveries } from '#worker/pushes/settle-deliveries.ts';

export type Pushes = Awaited<ReturnType<typeof createPushes>>;

export async function createPushes() {
  const database = await createTestDatabase();
  const connection = connect(database.appUrl);
  const { db, pool } = connection;
  const repository = await createRepository();
  const server = await startGitServer(dirname(repository.dir));
  const url = `${server.origin}/repository/.git`;
  const log = createLogger(process.env.ASSAY_TEST_LOG ?? 'silent');
  const mirrors = await openMirrors({ allowPrivateRemotes: true, certificateFile: server.certificateFile });
  const takeIn = createDeliveryIntake(pool);
  let announced = 0;

  return {
    connection,
    db,
    pool,
    repository,
    server,
    url,
    log,
    mirrors,
    deps: { connection, mirrors, log },
    secretsKey: createSecretKey(Buffer.alloc(32, 7)),
    async project(values: Partial<typeof projects.$inferInsert> = {}) {
      const id = newId();
      const name = `p-${id.slice(-12)}`;
      await db.insert(projects).values({ id, name, createdBy: 'ada', remoteUrl: url, ...values });
      return { id, name };
    },
    /** Commits a project file and answers the commit. */
    async commit(yaml: string | null, message = 'try', files: Record<string, string> = {}): Promise<string> {
      if (yaml !== null) await repository.write('assay.yaml', yaml);
      for (const [path, text] of Object.entries(files)) await repository.write(path, text);
      return repository.commit(message);
    },
    async announce(
      projectId: string,
      commit: string,
      more: { branch?: string; before?: string | null; id?: string; source?: DeliverySource } = {},
    ): Promise<string> {
      const { branch = 'main', before = null, id = `n${(announced += 1)}`, source = 'github' } = more;
      const ref = `refs/heads/${branch}`;
      return (await takeIn({ projectId, source, deliveryId: id, ref, branch, before, commit, reason: null })).id;
    },
    async delivery(id: string) {
      const [row] = await db.select().from(deliveries).where(eq(deliveries.id, id));
      if (row === undefined) throw new Error(`no delivery ${id}`);
      return row;
    },
    async settled(id: string) {
      await until(async () => (await this.delivery(id)).outcome !== 'accepted');
      return await this.delivery(id);
    },
    /** Settles until nothing of the project waits any more. */
    async settleAll(projectId: string, given: Pick<TestMirrors, 'readCommitFile'> = mirrors) {
      const settling = startSettlingDeliveries({ connection, log, mirrors: { ...mirrors, ...given } });
      const isAccepted = and(eq(deliveries.projectId, projectId), eq(deliveries.outcome, 'accepted'));
      try {
        await until(async () => (await db.select().from(deliveries).where(isAccepted)).length === 0);
      } finally {
        await settling.stop();
      }
    },
    runsOf: (projectId: string) => db.select().from(runs).where(eq(runs.projectId, projectId)).orderBy(runs.number),
    deliveriesOf: (projectId: string) =>
      db.select().from(deliveries).where(eq(deliveries.projectId, projectId)).orderBy(deliveries.id),
    async close() {
      await server.close();
      await connection.close();
      await database.drop();
    },
  };
}
