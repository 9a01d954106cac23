// Blob rows: which bytes exist, and which may be collected.
import { type SQL, and, eq, inArray, lt, ne, sql } from 'drizzle-orm';
import { DomainError } from '#core/errors.ts';
import type { Database, Queryable, Transaction } from './connect.ts';
import { blobs } from './schema/blobs.ts';

/** The first half of the advisory lock that guards one blob; any constant that no other pair of keys uses. */
const blobLock = 4_207_302;

export interface BlobFacts {
  sha256: string;
  sizeBytes: number;
}

/** True when the row is live. It is then safe from collection for as long as rows stay untouched before it. */
export async function touchBlob(db: Queryable, sha256: string): Promise<boolean> {
  const touched = await db
    .update(blobs)
    .set({ touchedAt: sql`clock_timestamp()` })
    .where(and(eq(blobs.sha256, sha256), eq(blobs.state, 'live')))
    .returning({ sha256: blobs.sha256 });
  return touched.length > 0;
}

/** False when there was no live row to mark: it is marked already, or is being deleted. */
export async function markDamaged(db: Queryable, sha256: string): Promise<boolean> {
  const marked = await db
    .update(blobs)
    .set({ state: 'damaged' })
    .where(and(eq(blobs.sha256, sha256), eq(blobs.state, 'live')))
    .returning({ sha256: blobs.sha256 });
  return marked.length > 0;
}

/** The bytes were looked at again and are what their name says. */
export async function unmarkDamaged(db: Queryable, sha256: string): Promise<void> {
  await db
    .update(blobs)
    .set({ state: 'live' })
    .where(and(eq(blobs.sha256, sha256), eq(blobs.state, 'damaged')));
}

export async function isLiveBlob(db: Queryable, sha256: string): Promise<boolean> {
  const rows = await db
    .select({ sha256: blobs.sha256 })
    .from(blobs)
    .where(and(eq(blobs.sha256, sha256), eq(blobs.state, 'live')));
  return rows.length > 0;
}

/** Only one process at a time creates or deletes the bytes of one blob that has no live row. */
export function withBlobLock<T>(db: Database, sha256: string, work: (tx: Transaction) => Promise<T>): Promise<T> {
  return db.transaction(async (tx) => {
    await tx.execute(sql`select pg_advisory_xact_lock(${blobLock}, hashtext(${sha256}))`);
    return work(tx);
  });
}

/** Called under the blob's lock, after its bytes are complete. */
export async function upsertLiveBlob(tx: Transaction, blob: BlobFacts): Promise<void> {
  await tx
    .insert(blobs)
    .values(blob)
    .onConflictDoUpdate({ target: blobs.sha256, set: { state: 'live', touchedAt: sql`clock_timestamp()` } });
}

/**
 * Locks the rows so that nothing deletes them before this transaction has written its references to them.
 * Refuses with `blob-missing`, one detail per digest that has no live row.
 */
export async function lockLiveBlobs(tx: Transaction, sha256s: readonly string[]): Promise<Map<string, number>> {
  const found = await tx
    .select({ sha256: blobs.sha256, sizeBytes: blobs.sizeBytes })
    .from(blobs)
    .where(and(anyOf(sha256s), eq(blobs.state, 'live')))
    .orderBy(blobs.sha256)
    .for('key share');
  const sizes = new Map(found.map((row) => [row.sha256, row.sizeBytes]));
  const missing = [...new Set(sha256s)].filter((sha256) => !sizes.has(sha256));
  if (missing.length > 0) throw blobsMissing(missing);
  return sizes;
}

/** Sizes of those of the blobs that are live. */
export async function blobSizes(db: Queryable, sha256s: readonly string[]): Promise<Map<string, number>> {
  const found = await db
    .select({ sha256: blobs.sha256, sizeBytes: blobs.sizeBytes })
    .from(blobs)
    .where(and(anyOf(sha256s), eq(blobs.state, 'live')));
  return new Map(found.map((row) => [row.sha256, row.sizeBytes]));
}

/** Those of the digests that have no live row, in the order given. Touches the others, whose references come next. */
export async function missingBlobs(db: Queryable, sha256s: readonly string[]): Promise<string[]> {
  const touched = await db
    .update(blobs)
    .set({ touchedAt: sql`clock_timestamp()` })
    .where(and(anyOf(sha256s), eq(blobs.state, 'live')))
    .returning({ sha256: blobs.sha256 });
  const live = new Set(touched.map((row) => row.sha256));
  return [...new Set(sha256s)].filter((sha256) => !live.has(sha256));
}

/** One array parameter, because a list of a million placeholders is more than the protocol allows. */
function anyOf(sha256s: readonly string[]): SQL {
  return sql`${blobs.sha256} = any(${sql.param([...sha256s])}::text[])`;
}

function blobsMissing(sha256s: readonly string[]): DomainError {
  return new DomainError(
    'blob-missing',
    `${sha256s.length} of the named blobs are not stored, the first is ${sha256s[0]}. Upload them, then try again.`,
    sha256s.map((sha256) => ({ path: sha256, message: 'not stored' })),
  );
}

/**
 * Marks unreferenced rows that nobody touched for so long, and answers all that are marked now. The rows are locked
 * first and their references looked for afterwards, so that a reference written in between is seen.
 */
export function markUnreferencedBlobs(db: Database, untouchedForMs: number, blobsMax: number): Promise<BlobFacts[]> {
  return db.transaction(async (tx) => {
    const unreferenced = await noReferences(tx);
    const untouched = lt(
      blobs.touchedAt,
      sql`clock_timestamp() - ${untouchedForMs}::float8 * interval '1 millisecond'`,
    );
    const locked = await tx
      .select({ sha256: blobs.sha256 })
      .from(blobs)
      .where(and(ne(blobs.state, 'deleting'), untouched, unreferenced))
      .orderBy(blobs.touchedAt)
      .limit(blobsMax)
      .for('update', { skipLocked: true });
    await tx
      .update(blobs)
      .set({ state: 'deleting' })
      .where(and(anyOf(locked.map((row) => row.sha256)), untouched, unreferenced));
    return tx
      .select({ sha256: blobs.sha256, sizeBytes: blobs.sizeBytes })
      .from(blobs)
      .where(eq(blobs.state, 'deleting'))
      .limit(blobsMax);
  });
}

/** Deletes the row of a blob that is still marked, once `deleteBytes` is through. False when somebody revived it. */
export function deleteMarkedBlob(db: Database, sha256: string, deleteBytes: () => Promise<unknown>): Promise<boolean> {
  return withBlobLock(db, sha256, async (tx) => {
    const marked = await tx
      .select({ sha256: blobs.sha256 })
      .from(blobs)
      .where(and(eq(blobs.sha256, sha256), eq(blobs.state, 'deleting')))
      .for('update');
    if (marked.length === 0) return false;
    await deleteBytes();
    await tx.delete(blobs).where(eq(blobs.sha256, sha256));
    return true;
  });
}

/** Deletes bytes that no row names, left by a process that died between storing them and writing the row. */
export function deleteStrayBlob(db: Database, sha256: string, deleteBytes: () => Promise<unknown>): Promise<boolean> {
  return withBlobLock(db, sha256, async (tx) => {
    const named = await tx.select({ sha256: blobs.sha256 }).from(blobs).where(eq(blobs.sha256, sha256));
    if (named.length > 0) return false;
    await deleteBytes();
    return true;
  });
}

export async function blobsWithoutRow(db: Queryable, sha256s: readonly string[]): Promise<string[]> {
  const named = await db
    .select({ sha256: blobs.sha256 })
    .from(blobs)
    .where(inArray(blobs.sha256, [...sha256s]));
  const known = new Set(named.map((row) => row.sha256));
  return sha256s.filter((sha256) => !known.has(sha256));
}

/** One `not exists` per foreign key to a blob, read from the catalogue: a new table that names blobs is never forgotten. */
async function noReferences(db: Queryable): Promise<SQL> {
  const references = await blobReferences(db);
  const clauses = references.map(
    ({ schema, table, column }) =>
      sql`not exists (select 1 from ${sql.identifier(schema)}.${sql.identifier(table)} as referrer
        where referrer.${sql.identifier(column)} = ${blobs.sha256})`,
  );
  return sql.join(clauses, sql` and `);
}

export interface BlobReference {
  schema: string;
  table: string;
  column: string;
}

/** Every column that names a blob. */
export async function blobReferences(db: Queryable): Promise<BlobReference[]> {
  const { rows } = await db.execute<{ schema: string; table: string; column: string }>(sql`
    select ns.nspname as schema, rel.relname as table, att.attname as column
    from pg_constraint con
    join pg_class rel on rel.oid = con.conrelid
    join pg_namespace ns on ns.oid = rel.relnamespace
    join pg_attribute att on att.attrelid = con.conrelid and att.attnum = con.conkey[1]
    where con.contype = 'f' and con.confrelid = 'blobs'::regclass
    order by 1, 2, 3`);
  if (rows.length === 0) throw new Error('no foreign key to the blobs table was found: the schema is not migrated');
  return rows;
}
