// The public halves of the keys that sign statements.
import { desc, eq, sql } from 'drizzle-orm';
import type { Database, Queryable, Transaction } from './connect.ts';
import { isoInstant } from './instants.ts';
import { signingKeys } from './schema/signing-keys.ts';

/** Any constant that nothing else in the database uses. */
const signingKeyLock = 4_207_310;

export interface SigningKeyRow {
  keyId: string;
  /** PEM. */
  publicKey: string;
  createdAt: string;
}

const columns = {
  keyId: signingKeys.keyId,
  publicKey: signingKeys.publicKey,
  createdAt: isoInstant(signingKeys.createdAt),
};

/** Of processes that start at once, one at a time finds out which key there is, or makes the first. */
export function withSigningKeyLock<T>(db: Database, work: (tx: Transaction) => Promise<T>): Promise<T> {
  return db.transaction(async (tx) => {
    await tx.execute(sql`select pg_advisory_xact_lock(${signingKeyLock})`);
    return await work(tx);
  });
}

/** Newest first. */
export async function listSigningKeys(db: Queryable): Promise<SigningKeyRow[]> {
  return await db.select(columns).from(signingKeys).orderBy(desc(signingKeys.createdAt), signingKeys.keyId);
}

export async function findSigningKey(db: Queryable, keyId: string): Promise<SigningKeyRow | undefined> {
  const [row] = await db.select(columns).from(signingKeys).where(eq(signingKeys.keyId, keyId));
  return row;
}

export async function registerSigningKey(db: Queryable, key: Omit<SigningKeyRow, 'createdAt'>): Promise<void> {
  await db.insert(signingKeys).values(key).onConflictDoNothing();
}
