// Processes that settle deliveries are killed at any moment; what was accepted is one run or one reason all the same.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { eq, sql } from 'drizzle-orm';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { connect, type Connection } from '#db/connect.ts';
import { createDeliveryIntake } from '#db/deliveries.ts';
import { newId } from '#db/ids.ts';
import { deliveries } from '#db/schema/deliveries.ts';
import { projects } from '#db/schema/projects.ts';
import { executions, runs } from '#db/schema/runs.ts';
import { createRepository, openMirrors, removeTemporary } from '#test/git/repositories.ts';
import { createTestDatabase, type TestDatabase } from '#test/support/postgres.ts';
import { until } from '#test/support/stack.ts';

const script = fileURLToPath(new URL('./settle-forever.ts', import.meta.url));
const node = fileURLToPath(new URL('../../node_modules/.bin/node', import.meta.url));
const commitsMax = 24;

let database: TestDatabase;
let connection: Connection;
beforeAll(async () => {
  database = await createTestDatabase();
  connection = connect(database.appUrl);
});
afterAll(async () => {
  await connection.close();
  await database.drop();
  await removeTemporary();
});

async function start(rootDir: string): Promise<ChildProcess> {
  const child = spawn(node, [script, database.appUrl, rootDir], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout!, 'data');
  return child;
}

async function kill(child: ChildProcess): Promise<void> {
  const exit = once(child, 'exit');
  child.kill('SIGKILL');
  await exit;
}

test('two settlers killed again and again leave one run per commit, numbered without a gap', async () => {
  const { db, pool } = connection;
  const repository = await createRepository();
  await repository.write('assay.yaml', 'stages: { train: { command: x } }\ntriggers: { push: [main] }\n');
  const commits = Array.from({ length: commitsMax }, (_, n) =>
    repository.commit(n % 4 === 3 ? 'x [skip ml]' : `c${n}`),
  );
  const mirrors = await openMirrors();
  const projectId = newId();
  await db.insert(projects).values({ id: projectId, name: 'killed', createdBy: 'ada' });
  await mirrors.ensure(projectId);
  const last = commits.at(-1) ?? '';
  await mirrors.ingestBundle(projectId, await repository.bundle({ tips: [last] }), last);

  const takeIn = createDeliveryIntake(pool);
  for (const source of ['github', 'gitea'] as const) {
    await Promise.all(
      commits.map((commit) =>
        takeIn({
          projectId,
          source,
          deliveryId: commit,
          ref: 'refs/heads/main',
          branch: 'main',
          before: null,
          commit,
          reason: null,
        }),
      ),
    );
  }
  const settled = async () => (await db.select().from(deliveries)).filter((row) => row.outcome !== 'accepted').length;
  let kills = 0;
  let inTheMiddle = 0;
  while ((await settled()) < 2 * commitsMax) {
    const before = await settled();
    const children = await Promise.all([start(mirrors.rootDir), start(mirrors.rootDir)]);
    // A kill follows progress, so that it hits work and not an idle process.
    await until(async () => (await settled()) >= Math.min(before + 5, 2 * commitsMax));
    await Promise.all(children.map(kill));
    kills += 1;
    const taken = (await db.select().from(deliveries)).filter((row) => row.outcome === 'accepted' && row.attempts > 0);
    if (taken.length > 0) inTheMiddle += 1;
    // The leases of the dead run out.
    await db
      .update(deliveries)
      .set({ nextAttemptAt: sql`clock_timestamp()` })
      .where(eq(deliveries.outcome, 'accepted'));
  }
  expect(kills).toBeGreaterThan(2);
  expect(inTheMiddle).toBeGreaterThan(0);
  const made = await db.select().from(runs).orderBy(runs.number);
  expect(made.map((run) => run.number)).toEqual(made.map((_, at) => at + 1));
  expect(new Set(made.map((run) => run.commit))).toEqual(new Set(commits.filter((_, n) => n % 4 !== 3)));
  expect(made).toHaveLength((commitsMax * 3) / 4);
  expect(await db.select().from(executions)).toHaveLength(made.length);
  const rows = await db.select().from(deliveries);
  expect(rows.filter((row) => row.outcome === 'run').map((row) => row.runId)).toHaveLength(made.length);
  expect(rows.every((row) => (row.runId === null) !== (row.reason === null))).toBe(true);
}, 180_000);
