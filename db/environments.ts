// Locks and environments, kept by what they were made from.
import { eq } from 'drizzle-orm';
import type { Queryable } from './connect.ts';
import { environments, locks } from './schema/environments.ts';
import { runs } from './schema/runs.ts';

export type EnvironmentRow = typeof environments.$inferSelect;

/** The digest of the kept lock; null when the question was never asked. */
export async function findLock(db: Queryable, lockKey: string): Promise<string | null> {
  const [row] = await db.select({ sha256: locks.lockSha256 }).from(locks).where(eq(locks.lockKey, lockKey));
  return row?.sha256 ?? null;
}

/** The first answer is kept: of two that resolved at once, both get the same. */
export async function keepLock(db: Queryable, row: typeof locks.$inferInsert): Promise<string> {
  await db.insert(locks).values(row).onConflictDoNothing();
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
