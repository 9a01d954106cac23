// Locks and environments, kept by what they were made from.
import { and, eq, sql } from 'drizzle-orm';
import type { Queryable } from './connect.ts';
import { blobs } from './schema/blobs.ts';
import { environments, locks } from './schema/environments.ts';
import { runs } from './schema/runs.ts';

export type EnvironmentRow = typeof environments.$inferSelect;

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

export async function keepEnvironment(db: Queryable, row: typeof environments.$inferInsert): Promise<void> {
  await db.insert(environments).values(row).onConflictDoNothing();
}

export async function getEnvironment(db: Queryable, environmentKey: string): Promise<EnvironmentRow | undefined> {
  const [row] = await db.select().from(environments).where(eq(environments.environmentKey, environmentKey));
  return row;
}

export async function setRunEnvironment(db: Queryable, runId: string, environmentKey: string): Promise<void> {
  await db.update(runs).set({ environmentKey }).where(eq(runs.id, runId));
}
