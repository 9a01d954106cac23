// Schedules as people and the mirror in Temporal see them. What a tick does is in schedule-ticks.ts.
import { and, asc, eq, gt, isNull, sql } from 'drizzle-orm';
import { DomainError } from '#core/errors.ts';
import type { Priority } from '#core/priority.ts';
import { fileScheduleName, type Overlap, schedulesMax } from '#core/schedule.ts';
import { recordAudit } from './audit.ts';
import type { Database, Queryable, Transaction } from './connect.ts';
import { type RequestKey, rememberRequest } from './idempotency.ts';
import { newId } from './ids.ts';
import { isoInstant, isoInstantOrNull } from './instants.ts';
import { projects } from './schema/projects.ts';
import { schedules } from './schema/schedules.ts';

export type ScheduleRow = Awaited<ReturnType<typeof selectSchedules>>[number];

/** Everything that people choose. */
export interface ScheduleChoice {
  cron: string;
  timezone: string;
  ref: string | null;
  overrides: Record<string, unknown>;
  experiment: string;
  tags: string[];
  priority: Priority;
  overlap: Overlap;
  catchUpSeconds: number;
}

function selectSchedules(db: Queryable) {
  return db
    .select({
      id: schedules.id,
      projectId: schedules.projectId,
      project: projects.name,
      name: schedules.name,
      cron: schedules.cron,
      timezone: schedules.timezone,
      ref: schedules.ref,
      overrides: schedules.overrides,
      experiment: schedules.experiment,
      tags: schedules.tags,
      owner: schedules.owner,
      priority: schedules.priority,
      overlap: schedules.overlap,
      catchUpSeconds: schedules.catchUpSeconds,
      pausedAt: isoInstantOrNull(schedules.pausedAt),
      pausedBy: schedules.pausedBy,
      pauseNote: schedules.pauseNote,
      isFromFile: schedules.isFromFile,
      activeSince: isoInstant(schedules.activeSince),
      version: schedules.version,
      trouble: schedules.trouble,
      createdBy: schedules.createdBy,
      createdAt: isoInstant(schedules.createdAt),
      updatedAt: isoInstant(schedules.updatedAt),
      deletedAt: isoInstantOrNull(schedules.deletedAt),
    })
    .from(schedules)
    .innerJoin(projects, eq(projects.id, schedules.projectId));
}

/** By name. */
export async function listSchedules(
  db: Queryable,
  projectId: string,
  page: { limit: number; after: string | null },
): Promise<ScheduleRow[]> {
  const after = page.after === null ? undefined : gt(schedules.name, page.after);
  return await selectSchedules(db)
    .where(and(eq(schedules.projectId, projectId), isNull(schedules.deletedAt), after))
    .orderBy(asc(schedules.name))
    .limit(page.limit);
}

export async function findSchedule(db: Queryable, projectId: string, name: string): Promise<ScheduleRow | undefined> {
  const [row] = await selectSchedules(db).where(
    and(eq(schedules.projectId, projectId), eq(schedules.name, name), isNull(schedules.deletedAt)),
  );
  return row;
}

/** Also a deleted one. */
export async function getSchedule(db: Queryable, id: string): Promise<ScheduleRow> {
  const [row] = await selectSchedules(db).where(eq(schedules.id, id));
  if (row === undefined) throw new TypeError(`Schedule ${id} is gone although its row is kept.`);
  return row;
}

/** What Temporal should have: every schedule of every project that is not deleted. */
export async function listLiveSchedules(db: Queryable): Promise<ScheduleRow[]> {
  return await selectSchedules(db).where(isNull(schedules.deletedAt)).orderBy(asc(schedules.id));
}

/** Keeps ticks, changes and deletion of one schedule apart. Answers deleted ones too. */
export async function lockSchedule(tx: Transaction, id: string): Promise<ScheduleRow | undefined> {
  const [row] = await selectSchedules(tx).where(eq(schedules.id, id)).for('update', { of: schedules });
  return row;
}

async function lockLive(tx: Transaction, id: string): Promise<ScheduleRow> {
  const row = await lockSchedule(tx, id);
  if (row === undefined || row.deletedAt !== null) {
    throw new DomainError(
      'not-found',
      'The schedule was deleted a moment ago. List the schedules to see what there is.',
    );
  }
  return row;
}

/** @throws conflict when the name is taken or the project has too many. */
export async function createSchedule(
  db: Database,
  wanted: ScheduleChoice & { projectId: string; name: string; owner: string },
  request: RequestKey | null,
): Promise<string> {
  if (wanted.name === fileScheduleName) throw nameOfFile();
  return await db.transaction(async (tx) => {
    const id = newId();
    const earlier = await rememberRequest(tx, request, id);
    if (earlier !== null) return earlier;
    await requireRoom(tx, wanted.projectId);
    const made = await tx
      .insert(schedules)
      .values({ ...wanted, id, createdBy: wanted.owner })
      .onConflictDoNothing()
      .returning({ id: schedules.id });
    if (made.length === 0) throw nameTaken(wanted.name);
    const { name, cron, timezone } = wanted;
    const facts = { project: wanted.projectId, name, cron, timezone };
    await recordAudit(tx, { actor: wanted.owner, action: 'schedule.create', target: id, facts });
    return id;
  });
}

async function requireRoom(tx: Transaction, projectId: string): Promise<void> {
  // The project's row is locked so that two requests at once do not both find room.
  await tx.select({ id: projects.id }).from(projects).where(eq(projects.id, projectId)).for('no key update');
  const found = await tx
    .select({ id: schedules.id })
    .from(schedules)
    .where(and(eq(schedules.projectId, projectId), isNull(schedules.deletedAt)));
  if (found.length < schedulesMax) return;
  const message = `The project has ${found.length} schedules, and ${schedulesMax} are possible. Remove one that is not needed.`;
  throw new DomainError('conflict', message);
}

function nameOfFile(): DomainError {
  const message = `The name "${fileScheduleName}" is kept for the schedule that the project file declares. Choose another name.`;
  return new DomainError('conflict', message);
}

function nameTaken(name: string): DomainError {
  const message = `The project already has a schedule "${name}". Choose another name, or change that one.`;
  return new DomainError('conflict', message);
}

/** @throws not-found, conflict for the schedule of a project file. */
export async function changeSchedule(
  db: Database,
  id: string,
  change: Partial<ScheduleChoice>,
  by: string,
): Promise<void> {
  await db.transaction(async (tx) => {
    const before = await lockLive(tx, id);
    if (before.isFromFile) throw belongsToFile();
    await applyChange(tx, before, change);
    await recordAudit(tx, { actor: by, action: 'schedule.change', target: id, facts: { ...change } });
  });
}

/** Other times are due from now on; what was due by the old ones and comes late starts nothing. */
export async function applyChange(
  tx: Transaction,
  before: ScheduleRow,
  change: Partial<ScheduleChoice> & { deletedAt?: null },
): Promise<void> {
  const { cron = before.cron, timezone = before.timezone } = change;
  const otherTimes = cron !== before.cron || timezone !== before.timezone || before.deletedAt !== null;
  await tx
    .update(schedules)
    .set({ ...change, ...nextVersion(), ...(otherTimes ? { activeSince: sql`clock_timestamp()`, trouble: null } : {}) })
    .where(eq(schedules.id, before.id));
}

function nextVersion() {
  return { version: sql`${schedules.version} + 1`, updatedAt: sql`clock_timestamp()` };
}

/** Pausing a paused schedule replaces the note. @throws not-found */
export async function pauseSchedule(db: Database, id: string, by: string, note: string | null): Promise<void> {
  await db.transaction(async (tx) => {
    const before = await lockLive(tx, id);
    await tx
      .update(schedules)
      .set({
        pausedAt: sql`coalesce(${schedules.pausedAt}, clock_timestamp())`,
        pausedBy: by,
        pauseNote: note,
        ...nextVersion(),
      })
      .where(eq(schedules.id, before.id));
    await recordAudit(tx, { actor: by, action: 'schedule.pause', target: id, facts: { note } });
  });
}

/** What was due while it was paused is not made up for. @throws not-found */
export async function resumeSchedule(db: Database, id: string, by: string): Promise<void> {
  await db.transaction(async (tx) => {
    const before = await lockLive(tx, id);
    if (before.pausedAt === null) return;
    await tx
      .update(schedules)
      .set({
        pausedAt: null,
        pausedBy: null,
        pauseNote: null,
        activeSince: sql`clock_timestamp()`,
        ...nextVersion(),
      })
      .where(eq(schedules.id, before.id));
    await recordAudit(tx, { actor: by, action: 'schedule.resume', target: id });
  });
}

/** The row stays, with its ticks. @throws not-found, conflict for the schedule of a project file. */
export async function deleteSchedule(db: Database, id: string, by: string): Promise<void> {
  await db.transaction(async (tx) => {
    const before = await lockLive(tx, id);
    if (before.isFromFile) throw belongsToFile();
    await markDeleted(tx, before, by);
  });
}

export async function markDeleted(tx: Transaction, { id, name }: ScheduleRow, by: string): Promise<void> {
  await tx
    .update(schedules)
    .set({ deletedAt: sql`clock_timestamp()`, ...nextVersion() })
    .where(eq(schedules.id, id));
  await recordAudit(tx, { actor: by, action: 'schedule.delete', target: id, facts: { name } });
}

function belongsToFile(): DomainError {
  return new DomainError(
    'conflict',
    'The schedule comes from assay.yaml; change or remove triggers.schedule there and run that commit on the default branch. Pausing works here.',
  );
}

/** What Temporal said of this version, in its own words; null when it took it. */
export async function setTrouble(
  db: Queryable,
  { id, version }: Pick<ScheduleRow, 'id' | 'version'>,
  trouble: string | null,
): Promise<void> {
  await db
    .update(schedules)
    .set({ trouble })
    .where(
      and(
        eq(schedules.id, id),
        eq(schedules.version, version),
        sql`${schedules.trouble} is distinct from ${trouble}::text`,
      ),
    );
}
