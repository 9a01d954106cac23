// The webhook secret of a project, by which a delivery is known to come from its git host.
import { type KeyObject, randomBytes } from 'node:crypto';
import { and, desc, eq, isNotNull, sql } from 'drizzle-orm';
import type pg from 'pg';
import { DomainError } from '#core/errors.ts';
import { recordAudit } from './audit.ts';
import { coalesce } from './coalesce.ts';
import type { Database, Queryable, Transaction } from './connect.ts';
import { type RequestKey, rememberRequest } from './idempotency.ts';
import { isUuid } from './ids.ts';
import { isoInstant, isoInstantOrNull } from './instants.ts';
import { hookSecrets } from './schema/hooks.ts';
import { projects } from './schema/projects.ts';
import { seal, type SealedPlace, unseal } from './seal.ts';

/** How long the secret before a rotation stays valid, so that the host's settings can follow. */
const overlapHours = 24;
const secretBytes = 32;

export interface HookRow {
  version: number;
  createdBy: string;
  createdAt: string;
  /** Until when the secret before this one is valid too; null when it is not. */
  previousUntil: string | null;
}

/** The form of the Standard Webhooks specification; GitHub, Gitea and GitLab's plain token take the text as it is. */
function createSecret(): string {
  return `whsec_${randomBytes(secretBytes).toString('base64')}`;
}

const isLive = sql`${hookSecrets.sealed} is not null
  and (${hookSecrets.expiresAt} is null or ${hookSecrets.expiresAt} > clock_timestamp())`;

/** Undefined when the project takes no deliveries. */
export async function getHook(db: Queryable, projectId: string): Promise<HookRow | undefined> {
  const live = await db
    .select({
      version: hookSecrets.version,
      createdBy: hookSecrets.createdBy,
      createdAt: isoInstant(hookSecrets.createdAt),
      expiresAt: isoInstantOrNull(hookSecrets.expiresAt),
    })
    .from(hookSecrets)
    .where(and(eq(hookSecrets.projectId, projectId), isLive))
    .orderBy(desc(hookSecrets.version));
  const newest = live.find((row) => row.expiresAt === null);
  if (newest === undefined) return undefined;
  const { expiresAt: _none, ...hook } = newest;
  return { ...hook, previousUntil: live.find((row) => row.expiresAt !== null)?.expiresAt ?? null };
}

export interface NewHook {
  projectId: string;
  by: string;
}

/**
 * The project's first secret. A repeated request gives the same hook a fresh one, because the first was stored nowhere
 * in clear text. @throws conflict when there is a hook.
 */
export async function createHook(
  db: Database,
  key: KeyObject,
  { projectId, by }: NewHook,
  request: RequestKey | null,
): Promise<{ hook: HookRow; secret: string }> {
  return await db.transaction(async (tx) => {
    await lockProject(tx, projectId);
    const isRepeated = (await rememberRequest(tx, request, projectId)) !== null;
    const existing = await getHook(tx, projectId);
    if (existing !== undefined && !isRepeated) throw hookExists();
    const secret = createSecret();
    if (existing === undefined) await insertSecret(tx, key, { projectId, by, secret });
    else await replaceSecret(tx, key, { projectId, version: existing.version, secret });
    await recordAudit(tx, { actor: by, action: 'hook.create', target: projectId, facts: { repeated: isRepeated } });
    return { hook: await requireHook(tx, projectId), secret };
  });
}

/** A new secret; the one before stays valid for a day, those before that one end now. @throws not-found */
export async function rotateHook(
  db: Database,
  key: KeyObject,
  { projectId, by }: NewHook,
  request: RequestKey | null,
): Promise<{ hook: HookRow; secret: string }> {
  return await db.transaction(async (tx) => {
    await lockProject(tx, projectId);
    const before = await requireHook(tx, projectId);
    const isRepeated = (await rememberRequest(tx, request, projectId)) !== null;
    const secret = createSecret();
    if (isRepeated) await replaceSecret(tx, key, { projectId, version: before.version, secret });
    else {
      await eraseExpiring(tx, projectId);
      await tx
        .update(hookSecrets)
        .set({ expiresAt: sql`clock_timestamp() + ${overlapHours} * interval '1 hour'` })
        .where(and(eq(hookSecrets.projectId, projectId), eq(hookSecrets.version, before.version)));
      await insertSecret(tx, key, { projectId, by, secret });
    }
    await recordAudit(tx, { actor: by, action: 'hook.rotate', target: projectId, facts: { repeated: isRepeated } });
    return { hook: await requireHook(tx, projectId), secret };
  });
}

/** Erases the secrets: nothing that is delivered from now on is accepted. @throws not-found */
export async function deleteHook(db: Database, { projectId, by }: NewHook): Promise<void> {
  await db.transaction(async (tx) => {
    await lockProject(tx, projectId);
    await requireHook(tx, projectId);
    await tx
      .update(hookSecrets)
      .set({ sealed: null, expiresAt: sql`clock_timestamp()` })
      .where(and(eq(hookSecrets.projectId, projectId), isNotNull(hookSecrets.sealed)));
    await recordAudit(tx, { actor: by, action: 'hook.delete', target: projectId });
  });
}

/** Keeps two changes of one project's hook apart. */
async function lockProject(tx: Transaction, projectId: string): Promise<void> {
  await tx.select({ id: projects.id }).from(projects).where(eq(projects.id, projectId)).for('no key update');
}

async function insertSecret(
  tx: Transaction,
  key: KeyObject,
  { projectId, by, secret }: NewHook & { secret: string },
): Promise<void> {
  const [row] = await tx
    .select({ version: sql<number>`coalesce(max(${hookSecrets.version}), 0)` })
    .from(hookSecrets)
    .where(eq(hookSecrets.projectId, projectId));
  const version = Number(row?.version ?? 0) + 1;
  const sealed = seal(key, place(projectId, version), secret);
  await tx.insert(hookSecrets).values({ projectId, version, sealed, createdBy: by });
}

async function replaceSecret(
  tx: Transaction,
  key: KeyObject,
  { projectId, version, secret }: { projectId: string; version: number; secret: string },
): Promise<void> {
  await tx
    .update(hookSecrets)
    .set({ sealed: seal(key, place(projectId, version), secret) })
    .where(and(eq(hookSecrets.projectId, projectId), eq(hookSecrets.version, version)));
}

async function eraseExpiring(tx: Transaction, projectId: string): Promise<void> {
  await tx
    .update(hookSecrets)
    .set({ sealed: null, expiresAt: sql`clock_timestamp()` })
    .where(and(eq(hookSecrets.projectId, projectId), isNotNull(hookSecrets.expiresAt)));
}

async function requireHook(tx: Transaction, projectId: string): Promise<HookRow> {
  const hook = await getHook(tx, projectId);
  if (hook !== undefined) return hook;
  throw new DomainError('not-found', 'The project has no webhook. Make one with `assay hooks create`.');
}

function hookExists(): DomainError {
  return new DomainError(
    'conflict',
    'The project has a webhook already, and its secret is shown only once. Rotate it for a new one: `assay hooks rotate`.',
  );
}

function place(projectId: string, version: number): SealedPlace {
  return ['assay-hook', projectId, version];
}

export interface HookKeys {
  projectId: string;
  projectName: string;
  /** Every secret that is valid at this moment, newest first. */
  secrets: string[];
}

interface KeyRow {
  id: string;
  name: string;
  version: number;
  sealed: Buffer;
}

/**
 * Finds the secrets by which deliveries to a project, named or by id, are checked; undefined when there are none. Calls
 * of one moment share one statement. Nothing is kept, so an erased secret stops working at once.
 */
export function createHookLookup(pool: pg.Pool, key: KeyObject): (project: string) => Promise<HookKeys | undefined> {
  return coalesce(async (asked: string[]) => {
    const found = await pool.query<KeyRow>({
      name: 'hook-secrets-by-project',
      text: `select p.id, p.name, h.version, h.sealed from projects p join hook_secrets h on h.project_id = p.id
             where (p.id = any($1::uuid[]) or p.name = any($2)) and h.sealed is not null
               and (h.expires_at is null or h.expires_at > clock_timestamp())
             order by h.version desc`,
      values: [asked.filter(isUuid), asked],
    });
    const byProject = Map.groupBy(found.rows, (row) => row.id);
    const idOf = new Map(found.rows.map((row) => [row.name, row.id]));
    return asked.map((text) => keysOf(key, byProject.get(text.toLowerCase()) ?? byProject.get(idOf.get(text) ?? '')));
  });
}

function keysOf(key: KeyObject, rows: readonly KeyRow[] | undefined): HookKeys | undefined {
  const [first] = rows ?? [];
  if (rows === undefined || first === undefined) return undefined;
  return {
    projectId: first.id,
    projectName: first.name,
    secrets: rows.map((row) => unseal(key, place(row.id, row.version), row.sealed)),
  };
}
