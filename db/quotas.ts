// Quotas: what projects and users may use at once, and what they use. Always counted, never remembered.
import { and, asc, eq, isNotNull, or, sql } from 'drizzle-orm';
import { DomainError } from '#core/errors.ts';
import { everyone, type Limits, type Quota, type Subject, type Usage } from '#core/quota.ts';
import { recordAudit } from './audit.ts';
import type { Database, Queryable } from './connect.ts';
import { isoInstant } from './instants.ts';
import { projects } from './schema/projects.ts';
import { quotas } from './schema/quotas.ts';

export async function listQuotas(db: Queryable) {
  return await db
    .select({
      kind: quotas.kind,
      name: quotas.name,
      runs: quotas.runs,
      stages: quotas.stages,
      devices: quotas.devices,
      setBy: quotas.setBy,
      setAt: isoInstant(quotas.setAt),
    })
    .from(quotas)
    .orderBy(asc(quotas.kind), asc(quotas.name));
}

/** @throws not-found when the project does not exist; a user is known by submitting, so any name is taken. */
export async function setQuota(db: Database, { kind, name }: Subject, limits: Limits, by: string): Promise<void> {
  await db.transaction(async (tx) => {
    if (kind === 'project' && name !== everyone) await requireProject(tx, name);
    const change = { ...limits, setBy: by, setAt: sql`clock_timestamp()` };
    await tx
      .insert(quotas)
      .values({ kind, name, ...change })
      .onConflictDoUpdate({ target: [quotas.kind, quotas.name], set: change });
    await recordAudit(tx, { actor: by, action: 'quota.set', target: `${kind} ${name}`, facts: { ...limits } });
  });
}

async function requireProject(db: Queryable, name: string): Promise<void> {
  const found = await db.select({ id: projects.id }).from(projects).where(eq(projects.name, name));
  if (found.length > 0) return;
  throw new DomainError('not-found', `There is no project "${name}". GET /api/v1/projects lists them.`);
}

/** @throws not-found */
export async function removeQuota(db: Database, { kind, name }: Subject, by: string): Promise<void> {
  await db.transaction(async (tx) => {
    const removed = await tx
      .delete(quotas)
      .where(and(eq(quotas.kind, kind), eq(quotas.name, name)))
      .returning({ name: quotas.name });
    if (removed.length === 0)
      throw new DomainError('not-found', `There is no quota of ${kind} "${name}". GET /api/v1/quotas lists them.`);
    await recordAudit(tx, { actor: by, action: 'quota.remove', target: `${kind} ${name}` });
  });
}

/** Empty while none limits runs; else all, for a row that sets none may take the place of a default that does. */
export async function listRunQuotas(db: Queryable): Promise<Quota[]> {
  const all = await db.select().from(quotas);
  return all.some(({ runs }) => runs !== null) ? all : [];
}

/** The same for stages and devices. */
export async function listStageQuotas(db: Queryable): Promise<Quota[]> {
  return (await stagesHaveQuotas(db)) ? await db.select().from(quotas) : [];
}

export async function stagesHaveQuotas(db: Queryable): Promise<boolean> {
  const [found] = await db
    .select({ kind: quotas.kind })
    .from(quotas)
    .where(or(isNotNull(quotas.stages), isNotNull(quotas.devices)))
    .limit(1);
  return found !== undefined;
}

type UsageRow = { project: string; owner: string; runs?: number; stages?: number; devices?: number };

/** Runs under way: from the moment they are taken for their start until they are closed. */
export async function runUsage(db: Queryable): Promise<Usage[]> {
  const found = await db.execute<UsageRow>(sql`
    select p.name as project, e.owner, e.n::int as runs
    from (select project_id, owner, count(*) n from executions where dispatch in ('starting', 'started') group by 1, 2) e
    join projects p on p.id = e.project_id`);
  return found.rows.map(({ project, owner, runs = 0 }) => ({ project, owner, amounts: { runs } }));
}

/** Stages that were admitted: they run, wait for a slot, or are between two launches. */
export async function stageUsage(db: Queryable): Promise<Usage[]> {
  const found = await db.execute<UsageRow>(sql`
    select p.name as project, r.owner, count(*)::int as stages, coalesce(sum(s.devices), 0)::int as devices
    from steps s join runs r on r.id = s.run_id join projects p on p.id = r.project_id
    where s.kind = 'stage' and s.status in ('waiting', 'running') and s.waits_for is distinct from 'quota'
    group by 1, 2`);
  return found.rows.map(({ project, owner, stages = 0, devices = 0 }) => ({
    project,
    owner,
    amounts: { stages, devices },
  }));
}
