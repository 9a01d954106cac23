import { pgTable, text } from 'drizzle-orm/pg-core';
import { instant } from './columns.ts';

/** The public halves of all keys that ever signed here: what they signed stays verifiable. Append-only. */
export const signingKeys = pgTable('signing_keys', {
  /** sha256 of the key as SubjectPublicKeyInfo in DER. */
  keyId: text('key_id').primaryKey(),
  /** PEM. */
  publicKey: text('public_key').notNull(),
  createdAt: instant('created_at').notNull().defaultNow(),
});
