// The connection pool. Queries live one file per noun beside this one; SQL is never built from text of users.
import { drizzle, type NodePgDatabase } from 'drizzle-orm/node-postgres';
import pg from 'pg';

export type Database = NodePgDatabase;
/** Inside `db.transaction(…)`; every query function takes either. */
export type Transaction = Parameters<Parameters<Database['transaction']>[0]>[0];
export type Queryable = Database | Transaction;

export interface Connection {
  db: Database;
  pool: pg.Pool;
  close(): Promise<void>;
}

/**
 * A dead server is not noticed here: the pool's idle clients report it to `onError` and are replaced,
 * and the query that meets it rejects.
 */
export function connect(
  url: string,
  options: { connectionsMax?: number; onError?: (error: Error) => void } = {},
): Connection {
  const pool = new pg.Pool({ connectionString: url, max: options.connectionsMax ?? 10, keepAlive: true });
  pool.on('error', (error) => options.onError?.(error));
  // While a client is in use the pool does not listen to it, and an event that nobody listens to ends the process.
  pool.on('connect', (client) => client.on('error', () => undefined));
  return { db: drizzle(pool), pool, close: () => pool.end() };
}
