// A transaction whose connection is known, for the statements that are written for the driver.
import { drizzle } from 'drizzle-orm/node-postgres';
import type pg from 'pg';
import type { Transaction } from './connect.ts';

/** Both arguments speak within the one transaction, which ends with the task. */
export async function transact<T>(
  pool: pg.Pool,
  task: (tx: Transaction, client: pg.PoolClient) => Promise<T>,
): Promise<T> {
  const client = await pool.connect();
  try {
    const result = await drizzle(client).transaction((tx) => task(tx, client));
    client.release();
    return result;
  } catch (error) {
    // Whether the connection is to blame is not known, so nobody else gets it.
    client.release(true);
    throw error;
  }
}
