// Tokens: issue, look up, revoke. Only hashes are stored.
import { createHash, randomBytes } from 'node:crypto';
import { and, desc, eq, isNull, lt, sql } from 'drizzle-orm';
import type pg from 'pg';
import { DomainError } from '#core/errors.ts';
import type { Role } from '#core/role.ts';
import { recordAudit } from './audit.ts';
import { coalesce } from './coalesce.ts';
import type { Database, Queryable } from './connect.ts';
import { type RequestKey, rememberRequest } from './idempotency.ts';
import { newId } from './ids.ts';
import { projects } from './schema/projects.ts';
import { tokens } from './schema/tokens.ts';

/** Whom a request speaks for. */
export interface Principal {
  /** Of the token; for a running stage, its run. Idempotency keys of two callers never meet. */
  tokenId: string;
  tokenName: string;
  owner: string;
  role: Role;
  /** The only project it reaches; null reaches every one. */
  projectId: string | null;
  projectName: string | null;
  expiresAt: Date | null;
  /** The run whose stage this is; null for people and services. */
  runId: string | null;
}

const prefix = 'assay_';

/** 256 random bits; the prefix lets scanners find a token that leaked. */
export function createTokenText(): { token: string; hash: string } {
  const token = prefix + randomBytes(32).toString('base64url');
  return { token, hash: hashToken(token) };
}

export function hashToken(token: string): string {
  return createHash('sha256').update(token).digest('hex');
}

export function looksLikeToken(text: string): boolean {
  return text.startsWith(prefix) && text.length <= 200;
}

const lookupStatement = {
  name: 'principals-by-token-hash',
  text: `
    select t.hash, t.id as token_id, t.name as token_name, t.owner, t.role, t.project_id, p.name as project_name,
           t.expires_at, null::uuid as run_id,
           t.last_used_at is null or t.last_used_at < clock_timestamp() - interval '1 minute' as stale
    from tokens t left join projects p on p.id = t.project_id
    where t.hash = any($1) and t.revoked_at is null and (t.expires_at is null or t.expires_at > clock_timestamp())
    union all
    select a.token_hash, r.id, 'stage ' || a.step, r.owner, 'stage', r.project_id, p.name, null, r.id, false
    from attempts a join runs r on r.id = a.run_id join projects p on p.id = r.project_id
    where a.token_hash = any($1) and a.status in ('starting', 'running')
      and not exists (select 1 from attempts n where n.run_id = a.run_id and n.step = a.step and n.fence > a.fence)`,
};

interface PrincipalRow {
  hash: string;
  token_id: string;
  token_name: string;
  owner: string;
  role: Role;
  project_id: string | null;
  project_name: string | null;
  expires_at: Date | null;
  run_id: string | null;
  stale: boolean;
}

/**
 * Finds who a token speaks for; undefined for a token that is unknown, expired, revoked or of an attempt that is no
 * longer current. Nothing is cached, so a revoked token stops working at once.
 */
export function createTokenLookup(pool: pg.Pool): (hash: string) => Promise<Principal | undefined> {
  return coalesce(async (hashes: string[]) => {
    const found = await pool.query<PrincipalRow>({ ...lookupStatement, values: [hashes] });
    const stale = found.rows.filter((row) => row.stale).map((row) => row.hash);
    if (stale.length > 0) await noteUse(pool, stale);
    const byHash = new Map(found.rows.map((row) => [row.hash, principalOf(row)]));
    return hashes.map((hash) => byHash.get(hash));
  });
}

async function noteUse(pool: pg.Pool, hashes: string[]): Promise<void> {
  await pool.query('update tokens set last_used_at = clock_timestamp() where hash = any($1)', [hashes]);
}

function principalOf(row: PrincipalRow): Principal {
  return {
    tokenId: row.token_id,
    tokenName: row.token_name,
    owner: row.owner,
    role: row.role,
    projectId: row.project_id,
    projectName: row.project_name,
    expiresAt: row.expires_at,
    runId: row.run_id,
  };
}

export interface NewToken {
  name: string;
  owner: string;
  role: Role;
  projectId: string | null;
  expiresInDays: number | null;
  issuedBy: string;
}

export type TokenRow = NonNullable<Awaited<ReturnType<typeof getToken>>>;

/**
 * Issues a token. A repeated request gives the same token a fresh secret, because the first one is stored nowhere.
 */
export async function issueToken(
  db: Database,
  wanted: NewToken,
  request: RequestKey | null,
): Promise<{ row: TokenRow; token: string }> {
  const { token, hash } = createTokenText();
  return await db.transaction(async (tx) => {
    const id = newId();
    const earlier = await rememberRequest(tx, request, id);
    if (earlier === null) {
      const { expiresInDays, issuedBy: _issuedBy, ...values } = wanted;
      const expiresAt = expiresInDays === null ? null : sql`clock_timestamp() + ${expiresInDays} * interval '1 day'`;
      await tx.insert(tokens).values({ ...values, id, hash, expiresAt });
    } else {
      await tx
        .update(tokens)
        .set({ hash })
        .where(and(eq(tokens.id, earlier), isNull(tokens.revokedAt)));
    }
    const row = await getToken(tx, earlier ?? id);
    if (row === undefined) throw tokenNotFound(earlier ?? id);
    const { name, owner, role, project } = row;
    const facts = { name, owner, role, project, repeated: earlier !== null };
    await recordAudit(tx, { actor: wanted.issuedBy, action: 'token.issue', target: row.id, facts });
    return { row, token };
  });
}

const columns = {
  id: tokens.id,
  name: tokens.name,
  owner: tokens.owner,
  role: tokens.role,
  project: projects.name,
  createdAt: tokens.createdAt,
  expiresAt: tokens.expiresAt,
  lastUsedAt: tokens.lastUsedAt,
  revokedAt: tokens.revokedAt,
};

async function getToken(db: Queryable, id: string) {
  const [row] = await db
    .select(columns)
    .from(tokens)
    .leftJoin(projects, eq(projects.id, tokens.projectId))
    .where(eq(tokens.id, id));
  return row;
}

/** Newest first. Ids are UUIDv7, so their order is the order of issue. */
export async function listTokens(
  db: Queryable,
  page: { projectId: string | null; limit: number; before: string | null },
): Promise<TokenRow[]> {
  return await db
    .select(columns)
    .from(tokens)
    .leftJoin(projects, eq(projects.id, tokens.projectId))
    .where(
      and(
        page.projectId === null ? undefined : eq(tokens.projectId, page.projectId),
        page.before === null ? undefined : lt(tokens.id, page.before),
      ),
    )
    .orderBy(desc(tokens.id))
    .limit(page.limit);
}

/** @throws not-found also for a token of a project that the caller does not reach. */
export async function revokeToken(db: Database, id: string, by: Principal): Promise<void> {
  await db.transaction(async (tx) => {
    const revoked = await tx
      .update(tokens)
      .set({ revokedAt: sql`coalesce(${tokens.revokedAt}, clock_timestamp())` })
      .where(and(eq(tokens.id, id), by.projectId === null ? undefined : eq(tokens.projectId, by.projectId)))
      .returning({ id: tokens.id });
    if (revoked.length === 0) throw tokenNotFound(id);
    await recordAudit(tx, { actor: by.owner, action: 'token.revoke', target: id });
  });
}

function tokenNotFound(id: string): DomainError {
  return new DomainError('not-found', `There is no token ${id}. \`GET /api/v1/tokens\` lists those that exist.`);
}

/** Whether anyone could issue tokens: one of an operator that is neither expired nor revoked and reaches everything. */
export async function hasOperatorToken(db: Queryable): Promise<boolean> {
  const found = await db.execute(sql`
    select 1 from tokens where role = 'platform' and project_id is null and revoked_at is null
      and (expires_at is null or expires_at > clock_timestamp()) limit 1`);
  return found.rows.length > 0;
}
