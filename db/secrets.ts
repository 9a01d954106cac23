// Secrets of a project, sealed at rest. A value leaves this file only through openSecret, never through the API.
import type { KeyObject } from 'node:crypto';
import { and, asc, desc, eq, isNull, sql } from 'drizzle-orm';
import { DomainError } from '#core/errors.ts';
import { recordAudit } from './audit.ts';
import type { Database, Queryable, Transaction } from './connect.ts';
import { isoInstant } from './instants.ts';
import { projects } from './schema/projects.ts';
import { secrets } from './schema/secrets.ts';
import { seal, type SealedPlace, unseal } from './seal.ts';

export interface SecretName {
  projectId: string;
  name: string;
}

export interface SecretRow {
  name: string;
  version: number;
  createdBy: string;
  createdAt: string;
}

const columns = {
  name: secrets.name,
  version: secrets.version,
  createdBy: secrets.createdBy,
  createdAt: isoInstant(secrets.createdAt),
};

/** The newest version of each secret that was not deleted, by name. */
export async function listSecrets(db: Queryable, projectId: string): Promise<SecretRow[]> {
  return await db
    .selectDistinctOn([secrets.name], columns)
    .from(secrets)
    .where(and(eq(secrets.projectId, projectId), isNull(secrets.deletedAt)))
    .orderBy(asc(secrets.name), desc(secrets.version));
}

/** A new value is a new version; the project's row keeps two writers from taking the same number. */
export async function setSecret(
  db: Database,
  key: KeyObject,
  secret: SecretName & { value: string; by: string },
): Promise<SecretRow> {
  return await db.transaction(async (tx) => {
    const version = (await newestVersion(tx, secret)) + 1;
    const { projectId, name, by } = secret;
    const sealed = seal(key, place(secret, version), secret.value);
    const [row] = await tx
      .insert(secrets)
      .values({ projectId, name, version, sealed, createdBy: by })
      .returning(columns);
    if (row === undefined) throw new TypeError('An insert without conflict clause returned no row.');
    await recordAudit(tx, { actor: by, action: 'secret.set', target: `${projectId}/${name}`, facts: { version } });
    return row;
  });
}

async function newestVersion(tx: Transaction, { projectId, name }: SecretName): Promise<number> {
  await tx.select({ id: projects.id }).from(projects).where(eq(projects.id, projectId)).for('no key update');
  const [row] = await tx
    .select({ version: sql<number>`coalesce(max(${secrets.version}), 0)` })
    .from(secrets)
    .where(and(eq(secrets.projectId, projectId), eq(secrets.name, name)));
  return Number(row?.version ?? 0);
}

/** Erases every stored value; names and versions stay, because runs remember them. @throws not-found */
export async function deleteSecret(db: Database, secret: SecretName & { by: string }): Promise<void> {
  await db.transaction(async (tx) => {
    const erased = await tx
      .update(secrets)
      .set({ sealed: null, deletedAt: sql`clock_timestamp()` })
      .where(and(eq(secrets.projectId, secret.projectId), eq(secrets.name, secret.name), isNull(secrets.deletedAt)))
      .returning({ version: secrets.version });
    if (erased.length === 0) throw secretNotFound(secret.name);
    await recordAudit(tx, { actor: secret.by, action: 'secret.delete', target: `${secret.projectId}/${secret.name}` });
  });
}

function secretNotFound(name: string): DomainError {
  return new DomainError('not-found', `The project has no secret ${name}. List them with \`assay secret ls\`.`);
}

/**
 * The newest value of a secret with its version, for a stage about to start.
 * @throws secret-missing when it was never set or was deleted.
 */
export async function openSecret(
  db: Queryable,
  key: KeyObject,
  { projectId, name }: SecretName,
): Promise<{ version: number; value: string }> {
  const [row] = await db
    .select({ version: secrets.version, sealed: secrets.sealed })
    .from(secrets)
    .where(and(eq(secrets.projectId, projectId), eq(secrets.name, name), isNull(secrets.deletedAt)))
    .orderBy(desc(secrets.version))
    .limit(1);
  if (row === undefined || row.sealed === null) throw secretMissing([name]);
  return { version: row.version, value: unseal(key, place({ projectId, name }, row.version), row.sealed) };
}

export function secretMissing(names: readonly string[]): DomainError {
  const [first = ''] = names;
  return new DomainError(
    'secret-missing',
    `The project asks for ${names.join(', ')}, which nobody has set. Set it with \`assay secret set ${first}\`.`,
    names.map((name) => ({ path: `secrets.${name}`, message: 'not set' })),
  );
}

function place({ projectId, name }: SecretName, version: number): SealedPlace {
  return ['assay-secret', projectId, name, version];
}
