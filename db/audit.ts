// The append-only record of who changed what, written in the transaction of the change.
import type { Queryable } from './connect.ts';
import { audit } from './schema/audit.ts';

export interface AuditRecord {
  actor: string;
  /** Noun and verb, for example `run.cancel`; persisted, so chosen once. */
  action: string;
  /** The id of what was changed. */
  target: string;
  /** Never a secret, never a token. */
  facts?: Record<string, unknown>;
}

export async function recordAudit(db: Queryable, record: AuditRecord): Promise<void> {
  await db.insert(audit).values(record);
}
