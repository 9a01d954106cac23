// Which stages may ask for a slot: decided in one transaction under one lock, for all that wait and in their order,
// whoever asks. Nobody waits in vain for somebody who does not come: whoever is admitted finds it recorded.
import { and, eq, sql } from 'drizzle-orm';
import { admit, type Applicant, createLedger, type Shortage, shortageSentence } from '#core/quota.ts';
import type { Database, Transaction } from './connect.ts';
import { listStageQuotas, stageUsage } from './quotas.ts';
import { runs } from './schema/runs.ts';
import { steps } from './schema/steps.ts';
import { showWhetherRunWaits, type StepId, waitingForSlot } from './steps.ts';

/** Any constant that nothing else in the database uses. */
const admissionLock = 4_207_304;

export interface Refused {
  sentence: string;
  /** How many wait before it for the same project's or user's quota. */
  before: number;
}

interface Waiting extends Applicant {
  id: StepId;
  pool: string;
}

/** Admits what there is room for. Answers null when the step does not wait for a quota (any more). */
export async function admitStage(db: Database, id: StepId): Promise<Refused | null> {
  return await db.transaction(async (tx) => {
    await tx.execute(sql`select pg_advisory_xact_lock(${admissionLock})`);
    const waiting = await listWaiting(tx);
    const mine = waiting.find((other) => isSame(other.id, id));
    if (mine === undefined) return null;
    const ledger = createLedger(await listStageQuotas(tx), await stageUsage(tx));
    const shortage = ledger.shortageOf(mine);
    // Whoever has no room now has none after the others either.
    if (shortage === null) {
      let isMineAdmitted = false;
      for (const admitted of admit(waiting, ledger, waiting.length)) {
        const recorded = await record(tx, admitted);
        isMineAdmitted ||= recorded && isSame(admitted.id, id);
      }
      if (isMineAdmitted) return null;
    }
    const after = shortage ?? ledger.shortageOf(mine);
    const sentence = after === null ? 'waits for quota: others come first' : shortageSentence(after);
    await explain(tx, id, sentence);
    return { sentence, before: countBefore(waiting, mine, after) };
  });
}

function isSame(a: StepId, b: StepId): boolean {
  return a.runId === b.runId && a.execution === b.execution && a.step === b.step;
}

type WaitingRow = {
  run_id: string;
  execution: number;
  step: string;
  pool: string;
  devices: number;
  project: string;
  owner: string;
  priority: number;
  since: number;
};

async function listWaiting(tx: Transaction): Promise<Waiting[]> {
  const { rows } = await tx.execute<WaitingRow>(sql`
    select s.run_id, s.execution, s.name as step, s.pool, coalesce(s.devices, 0) as devices, p.name as project, r.owner,
           r.priority, extract(epoch from s.waiting_since)::float8 as since
    from steps s join runs r on r.id = s.run_id join projects p on p.id = r.project_id
    where s.kind = 'stage' and s.status = 'waiting' and s.waits_for = 'quota' and r.cancel_requested_at is null`);
  return rows.map(({ run_id: runId, execution, step, devices, ...row }) => ({
    ...row,
    id: { runId, execution, step },
    wants: { stages: 1, devices },
  }));
}

/** A run that is being closed or changed at this moment is passed over; its own next look admits it. */
async function record(tx: Transaction, { id, pool }: Waiting): Promise<boolean> {
  const held = await tx
    .select({ id: runs.id })
    .from(runs)
    .where(eq(runs.id, id.runId))
    .for('no key update', { skipLocked: true });
  if (held.length === 0) return false;
  const admitted = await tx
    .update(steps)
    .set({ ...waitingForSlot(pool), waitingSince: sql`clock_timestamp()` })
    .where(stepWaits(id))
    .returning({ name: steps.name });
  await showWhetherRunWaits(tx, id.runId, id.execution);
  return admitted.length > 0;
}

async function explain(tx: Transaction, id: StepId, reason: string): Promise<void> {
  const held = await tx
    .select({ id: runs.id })
    .from(runs)
    .where(eq(runs.id, id.runId))
    .for('no key update', { skipLocked: true });
  if (held.length === 0) return;
  const changed = await tx
    .update(steps)
    .set({ reason })
    .where(and(stepWaits(id), sql`${steps.reason} is distinct from ${reason}`))
    .returning({ name: steps.name });
  if (changed.length > 0) await showWhetherRunWaits(tx, id.runId, id.execution);
}

function stepWaits(id: StepId) {
  return and(
    eq(steps.runId, id.runId),
    eq(steps.execution, id.execution),
    eq(steps.name, id.step),
    eq(steps.status, 'waiting'),
    eq(steps.waitsFor, 'quota'),
  );
}

function countBefore(waiting: readonly Waiting[], mine: Waiting, shortage: Shortage | null): number {
  const shares = (other: Waiting) =>
    shortage === null ||
    (shortage.subject.kind === 'project' ? other.project === mine.project : other.owner === mine.owner);
  const isBefore = (other: Waiting) => (other.priority - mine.priority || other.since - mine.since) < 0;
  return waiting.filter((other) => shares(other) && isBefore(other)).length;
}
