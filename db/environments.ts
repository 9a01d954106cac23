// Locks and environments, kept by what they were made from.
import { and, asc, eq, sql } from 'drizzle-orm';
import { lockLiveBlobs } from './blobs.ts';
import type { Database, Queryable } from './connect.ts';
import { blobs } from './schema/blobs.ts';
import { environments, environmentWheels, locks } from './schema/environments.ts';
import { runs } from './schema/runs.ts';

export type EnvironmentRow = typeof environments.$inferSelect;
export type EnvironmentWheel = typeof environmentWheels.$inferSelect;

/** The digest of the kept lock; null when the question was never asked, or its answer is damaged. */
export async function findLock(db: Queryable, lockKey: string): Promise<string | null> {
  const [row] = await db
    .select({ sha256: locks.lockSha256 })
    .from(locks)
    .innerJoin(blobs, eq(blobs.sha256, locks.lockSha256))
    .where(and(eq(locks.lockKey, lockKey), eq(blobs.state, 'live')));
  return row?.sha256 ?? null;
}

/** The first answer that can be read is kept: of two that resolved at once, both get the same. */
export async function keepLock(db: Queryable, row: typeof locks.$inferInsert): Promise<string> {
  await db
    .insert(locks)
    .values(row)
    .onConflictDoUpdate({
      target: locks.lockKey,
      set: { lockSha256: row.lockSha256 },
      setWhere: sql`exists (select 1 from blobs b where b.sha256 = ${locks.lockSha256} and b.state = 'damaged')`,
    });
  return (await findLock(db, row.lockKey)) ?? row.lockSha256;
}

/** With the wheels that its lock brings: they are referred to as long as the lock is. @throws blob-missing */
export async function keepEnvironment(
  db: Database,
  row: typeof environments.$inferInsert,
  wheels: readonly Pick<EnvironmentWheel, 'filename' | 'sha256'>[] = [],
): Promise<void> {
  if (wheels.length === 0) {
    await db.insert(environments).values(row).onConflictDoNothing();
    return;
  }
  const { environmentKey } = row;
  await db.transaction(async (tx) => {
    await lockLiveBlobs(tx, [...new Set(wheels.map(({ sha256 }) => sha256))].sort());
    await tx.insert(environments).values(row).onConflictDoNothing();
    const rows = wheels.map((wheel) => ({ ...wheel, environmentKey, origin: 'lock' as const }));
    await tx.insert(environmentWheels).values(rows).onConflictDoNothing();
  });
}

/** Every wheel of the environment; null unless all of them were kept. */
export async function listKeptWheels(db: Queryable, environmentKey: string): Promise<EnvironmentWheel[] | null> {
  const [row] = await db
    .select({ keptAt: environments.wheelsKeptAt })
    .from(environments)
    .where(eq(environments.environmentKey, environmentKey));
  if (row === undefined || row.keptAt === null) return null;
  return await db
    .select()
    .from(environmentWheels)
    .where(eq(environmentWheels.environmentKey, environmentKey))
    .orderBy(asc(environmentWheels.filename));
}

/** The complete list, whose bytes are stored. What was kept before, for example of a build that differs, is replaced. */
export async function keepWheelList(
  db: Database,
  environmentKey: string,
  wheels: readonly Omit<EnvironmentWheel, 'environmentKey'>[],
): Promise<void> {
  await db.transaction(async (tx) => {
    await lockLiveBlobs(tx, [...new Set(wheels.map(({ sha256 }) => sha256))].sort());
    await tx
      .update(environments)
      .set({ wheelsKeptAt: sql`clock_timestamp()` })
      .where(eq(environments.environmentKey, environmentKey));
    await tx.delete(environmentWheels).where(eq(environmentWheels.environmentKey, environmentKey));
    const rows = wheels.map((wheel) => ({ ...wheel, environmentKey }));
    if (rows.length > 0) await tx.insert(environmentWheels).values(rows);
  });
}

export async function getEnvironment(db: Queryable, environmentKey: string): Promise<EnvironmentRow | undefined> {
  const [row] = await db.select().from(environments).where(eq(environments.environmentKey, environmentKey));
  return row;
}

export async function setRunEnvironment(db: Queryable, runId: string, environmentKey: string): Promise<void> {
  await db.update(runs).set({ environmentKey }).where(eq(runs.id, runId));
}
