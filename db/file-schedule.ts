// The schedule that a project's assay.yaml declares follows the newest commit of the default branch that a run resolved.
import { and, eq } from 'drizzle-orm';
import { fileScheduleName, type ScheduleDeclaration } from '#core/schedule.ts';
import { recordAudit } from './audit.ts';
import type { Database, Transaction } from './connect.ts';
import { newId } from './ids.ts';
import { applyChange, lockSchedule, markDeleted, type ScheduleRow } from './schedules.ts';
import { scheduleFiles, schedules } from './schema/schedules.ts';

export interface FileSchedule {
  projectId: string;
  branch: string;
  commit: string;
  /** ISO 8601. */
  committedAt: string;
  /** Null: the file declares none. */
  declared: ScheduleDeclaration | null;
  /** Whose run showed the commit; owns the schedule when it is new. */
  by: string;
}

/**
 * Makes, changes or removes the project's schedule. A commit older than the one it was last read from changes nothing,
 * so that running an old commit again does not bring its schedule back. A pause stays.
 */
export async function syncFileSchedule(db: Database, file: FileSchedule): Promise<void> {
  await db.transaction(async (tx) => {
    if (!(await takeFile(tx, file))) return;
    const before = await lockFileSchedule(tx, file.projectId);
    if (file.declared === null) {
      if (before !== undefined && before.deletedAt === null) await markDeleted(tx, before, file.by);
    } else if (before === undefined) await insert(tx, file, file.declared);
    else await change(tx, file, before, file.declared);
  });
}

/** Holds the project's row here; false when a newer commit was read before. */
async function takeFile(tx: Transaction, file: FileSchedule): Promise<boolean> {
  const { projectId, branch, commit } = file;
  const committedAt = new Date(file.committedAt);
  const row = { projectId, branch, commit, committedAt };
  await tx.insert(scheduleFiles).values(row).onConflictDoNothing();
  const [stored] = await tx.select().from(scheduleFiles).where(eq(scheduleFiles.projectId, projectId)).for('update');
  if (stored?.branch === branch && stored.committedAt > committedAt) return false;
  await tx.update(scheduleFiles).set(row).where(eq(scheduleFiles.projectId, projectId));
  return true;
}

async function lockFileSchedule(tx: Transaction, projectId: string): Promise<ScheduleRow | undefined> {
  const [found] = await tx
    .select({ id: schedules.id })
    .from(schedules)
    .where(and(eq(schedules.projectId, projectId), eq(schedules.isFromFile, true)));
  return found === undefined ? undefined : await lockSchedule(tx, found.id);
}

async function insert(tx: Transaction, file: FileSchedule, declared: ScheduleDeclaration): Promise<void> {
  const { branch: ref, ...choice } = declared;
  const id = newId();
  const { projectId, by, commit } = file;
  await tx
    .insert(schedules)
    .values({ id, projectId, name: fileScheduleName, ref, ...choice, owner: by, createdBy: by, isFromFile: true });
  const facts = { project: projectId, name: fileScheduleName, commit, ...declared };
  await recordAudit(tx, { actor: by, action: 'schedule.create', target: id, facts });
}

async function change(
  tx: Transaction,
  { by, commit }: FileSchedule,
  before: ScheduleRow,
  declared: ScheduleDeclaration,
): Promise<void> {
  const { branch: ref, ...choice } = declared;
  const wanted = { ref, ...choice };
  const names = Object.keys(wanted) as Array<keyof typeof wanted>;
  if (before.deletedAt === null && names.every((name) => wanted[name] === before[name])) return;
  await applyChange(tx, before, { ...wanted, deletedAt: null });
  await recordAudit(tx, { actor: by, action: 'schedule.change', target: before.id, facts: { commit, ...declared } });
}
