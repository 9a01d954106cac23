// Projects: create, find, change.
import { and, asc, eq, gt, sql } from 'drizzle-orm';
import type pg from 'pg';
import { DomainError } from '#core/errors.ts';
import type { HostKind } from '#core/push.ts';
import { recordAudit } from './audit.ts';
import { coalesce } from './coalesce.ts';
import type { Database, Queryable } from './connect.ts';
import { type RequestKey, rememberRequest } from './idempotency.ts';
import { isUuid, newId } from './ids.ts';
import { remotePolls } from './schema/deliveries.ts';
import { projects } from './schema/projects.ts';

export type ProjectRow = typeof projects.$inferSelect;

export interface FoundProject {
  id: string;
  name: string;
  defaultBranch: string;
  remoteUrl: string | null;
}

/** Finds a project by id or name; calls of one moment share one statement. */
export function createProjectLookup(pool: pg.Pool): (idOrName: string) => Promise<FoundProject | undefined> {
  return coalesce(async (asked: string[]) => {
    const found = await pool.query<FoundProject>({
      name: 'projects-by-id-or-name',
      text: `select id, name, default_branch as "defaultBranch", remote_url as "remoteUrl"
             from projects where id = any($1::uuid[]) or name = any($2)`,
      values: [asked.filter(isUuid), asked],
    });
    const byName = new Map(found.rows.map((row) => [row.name, row]));
    const byId = new Map(found.rows.map((row) => [row.id, row]));
    return asked.map((text) => byId.get(text.toLowerCase()) ?? byName.get(text));
  });
}

export async function getProject(db: Queryable, id: string): Promise<ProjectRow | undefined> {
  const [row] = await db.select().from(projects).where(eq(projects.id, id));
  return row;
}

/** By name. `onlyId` narrows to the one project a token reaches. */
export async function listProjects(
  db: Queryable,
  page: { onlyId: string | null; limit: number; after: string | null },
): Promise<ProjectRow[]> {
  return await db
    .select()
    .from(projects)
    .where(
      and(
        page.onlyId === null ? undefined : eq(projects.id, page.onlyId),
        page.after === null ? undefined : gt(projects.name, page.after),
      ),
    )
    .orderBy(asc(projects.name))
    .limit(page.limit);
}

/** @throws conflict when the name is taken. */
export async function createProject(
  db: Database,
  wanted: { name: string; remoteUrl: string | null; defaultBranch: string; createdBy: string },
  request: RequestKey | null,
): Promise<ProjectRow> {
  return await db.transaction(async (tx) => {
    const id = newId();
    const earlier = await rememberRequest(tx, request, id);
    if (earlier === null) {
      const made = await tx
        .insert(projects)
        .values({ ...wanted, id })
        .onConflictDoNothing()
        .returning();
      if (made.length === 0) throw nameTaken(wanted.name);
      const facts = { name: wanted.name, remoteUrl: wanted.remoteUrl };
      await recordAudit(tx, { actor: wanted.createdBy, action: 'project.create', target: id, facts });
    }
    const row = await getProject(tx, earlier ?? id);
    if (row === undefined) throw new TypeError(`Project ${earlier ?? id} is gone although projects are never deleted.`);
    return row;
  });
}

function nameTaken(name: string): DomainError {
  return new DomainError('conflict', `There is already a project "${name}". Choose another name, or use that one.`);
}

export async function changeProject(
  db: Database,
  id: string,
  change: {
    remoteUrl?: string | null;
    defaultBranch?: string;
    pollSeconds?: number | null;
    hostKind?: HostKind | null;
  },
  by: string,
): Promise<ProjectRow> {
  return await db.transaction(async (tx) => {
    const [row] = await tx
      .update(projects)
      .set({ name: sql`${projects.name}`, ...change })
      .where(eq(projects.id, id))
      .returning();
    if (row === undefined) throw new TypeError(`Project ${id} is gone although projects are never deleted.`);
    // The heads of another remote are no pushes, and a new pace counts from now.
    if (change.remoteUrl !== undefined) await tx.delete(remotePolls).where(eq(remotePolls.projectId, id));
    else if (change.pollSeconds !== undefined) {
      await tx.update(remotePolls).set({ nextAt: sql`clock_timestamp()` }).where(eq(remotePolls.projectId, id));
    }
    await recordAudit(tx, { actor: by, action: 'project.change', target: id, facts: change });
    return row;
  });
}
