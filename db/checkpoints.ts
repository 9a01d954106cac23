// Checkpoint sets: written under the fence of the attempt that made the files, found again for the next attempt.
import { and, asc, eq, sql } from 'drizzle-orm';
import { type CheckpointFile, type RestoredFrom, setsKept } from '#core/checkpoint.ts';
import { DomainError } from '#core/errors.ts';
import { type AttemptId, holdFence } from './attempts.ts';
import { lockLiveBlobs } from './blobs.ts';
import type { Database, Queryable, Transaction } from './connect.ts';
import { resultRun } from './result-run.ts';
import { labelOfRun } from './run-label.ts';
import { checkpointFiles, checkpointSets, initialCheckpoints } from './schema/checkpoints.ts';
import { attempts, steps } from './schema/steps.ts';
import { getStep } from './steps.ts';

export interface CheckpointSet {
  runId: string;
  step: string;
  number: number;
  fence: number;
  digest: string;
  files: number;
  sizeBytes: number;
  /** Of the run that made it. */
  label: string;
}

const setColumns = {
  runId: checkpointSets.runId,
  step: checkpointSets.step,
  number: checkpointSets.number,
  fence: checkpointSets.fence,
  digest: checkpointSets.digest,
  files: checkpointSets.files,
  sizeBytes: checkpointSets.sizeBytes,
  label: labelOfRun(checkpointSets.runId),
};

/**
 * Records a set and drops those behind the newest two. A superseded or closed attempt changes nothing and gets null.
 * The blobs' rows are locked and live meanwhile. @throws blob-missing
 */
export async function putCheckpointSet(
  db: Database,
  id: AttemptId & { execution: number },
  digest: string,
  files: readonly CheckpointFile[],
): Promise<number | null> {
  return await db.transaction(async (tx) => {
    if (!(await holdFence(tx, id))) return null;
    const stepKey = (await getStep(tx, id))?.stepKey ?? null;
    if (stepKey === null) throw new TypeError(`The step ${id.step} runs without a key.`);
    await lockLiveBlobs(
      tx,
      files.map(({ sha256 }) => sha256),
    );
    const [newest] = await tx
      .select({ number: sql<number>`coalesce(max(${checkpointSets.number}), 0)::int` })
      .from(checkpointSets)
      .where(and(eq(checkpointSets.runId, id.runId), eq(checkpointSets.step, id.step)));
    const set = { runId: id.runId, step: id.step, number: (newest?.number ?? 0) + 1 };
    await tx.insert(checkpointSets).values({
      ...set,
      stepKey,
      fence: id.fence,
      digest,
      files: files.length,
      sizeBytes: files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
      createdAt: sql`clock_timestamp()`,
    });
    await insertFiles(tx, set, files);
    await dropOldSets(tx, set, stepKey);
    return set.number;
  });
}

type SetId = Pick<CheckpointSet, 'runId' | 'step' | 'number'>;

/** One parameter for all: there may be a hundred thousand. */
async function insertFiles(tx: Transaction, set: SetId, files: readonly CheckpointFile[]): Promise<void> {
  await tx.execute(sql`
    insert into checkpoint_files (run_id, step, number, path, sha256, size_bytes, executable, modified_at_ms)
    select ${set.runId}::uuid, ${set.step}, ${set.number}::int, f.*
    from jsonb_to_recordset(${JSON.stringify(files)}::jsonb) as f(
      "path" text, "sha256" text, "sizeBytes" bigint, "executable" boolean, "modifiedAtMs" bigint)`);
}

/** Those that a run was submitted with stay. */
async function dropOldSets(tx: Transaction, { runId, step }: SetId, stepKey: string): Promise<void> {
  await tx.execute(sql`
    delete from checkpoint_sets s
    where s.run_id = ${runId} and s.step = ${step} and s.step_key = ${stepKey}
      and s.number not in (
        select k.number from checkpoint_sets k
        where k.run_id = ${runId} and k.step = ${step} and k.step_key = ${stepKey}
        order by k.number desc limit ${setsKept})
      and not exists (select 1 from initial_checkpoints i
        where i.from_run_id = s.run_id and i.step = s.step and i.number = s.number)`);
}

/** The digest of the newest set that this run made of the step with its present key. */
export async function newestSetDigest(db: Queryable, id: AttemptId & { execution: number }): Promise<string | null> {
  const stepKey = (await getStep(db, id))?.stepKey ?? '';
  const [row] = await db
    .select({ digest: checkpointSets.digest })
    .from(checkpointSets)
    .where(
      and(eq(checkpointSets.runId, id.runId), eq(checkpointSets.step, id.step), eq(checkpointSets.stepKey, stepKey)),
    )
    .orderBy(sql`${checkpointSets.number} desc`)
    .limit(1);
  return row?.digest ?? null;
}

const candidatesMax = 4;

/**
 * Sets that the next attempt of the step may start from, newest first: of this run and of those it resumes, with the
 * step's own key. What lies before an attempt that succeeded is over: a stage that runs again after that does all of
 * its work again.
 */
export async function findCheckpointSets(
  db: Queryable,
  id: { runId: string; execution: number; step: string },
): Promise<CheckpointSet[]> {
  const { rows } = await db.execute<{ [K in keyof CheckpointSet]: CheckpointSet[K] }>(sql`
    with recursive chain(id, depth) as (
      select ${id.runId}::uuid, 0
      union
      select r.resumed_from, c.depth + 1 from chain c join runs r on r.id = c.id
      where r.resumed_from is not null and r.reproduces is null and c.depth < 1000
    ), wanted as (
      select step_key from steps where run_id = ${id.runId} and execution = ${id.execution} and name = ${id.step}
    ), done as (
      select max(a.finished_at) as at
      from attempts a join steps s on s.run_id = a.run_id and s.execution = a.execution and s.name = a.step
      where a.run_id in (select id from chain) and a.step = ${id.step} and a.status = 'succeeded'
        and s.step_key = (select step_key from wanted)
    )
    select s.run_id as "runId", s.step, s.number, s.fence, s.digest, s.files, s.size_bytes::float8 as "sizeBytes",
           ${labelOfRun(sql`s.run_id`)} as label
    from checkpoint_sets s, done
    where s.run_id in (select id from chain) and s.step = ${id.step} and s.step_key = (select step_key from wanted)
      and (done.at is null or s.created_at > done.at)
    order by s.created_at desc
    limit ${candidatesMax}`);
  return rows;
}

export async function listCheckpointFiles(db: Queryable, set: SetId): Promise<CheckpointFile[]> {
  return await db
    .select({
      path: checkpointFiles.path,
      sha256: checkpointFiles.sha256,
      sizeBytes: checkpointFiles.sizeBytes,
      executable: checkpointFiles.executable,
      modifiedAtMs: checkpointFiles.modifiedAtMs,
    })
    .from(checkpointFiles)
    .where(
      and(
        eq(checkpointFiles.runId, set.runId),
        eq(checkpointFiles.step, set.step),
        eq(checkpointFiles.number, set.number),
      ),
    )
    .orderBy(asc(checkpointFiles.path));
}

/** What the attempt starts with, written before it starts. */
export async function noteRestored(db: Queryable, id: AttemptId, restoredFrom: RestoredFrom | null): Promise<void> {
  await db
    .update(attempts)
    .set({ restoredFrom })
    .where(and(eq(attempts.runId, id.runId), eq(attempts.step, id.step), eq(attempts.fence, id.fence)));
}

/** Step → what the attempt whose result counts started with. */
export async function listRestored(
  db: Queryable,
  runId: string,
  execution: number,
): Promise<Map<string, RestoredFrom>> {
  const rows = await db
    .select({ step: steps.name, restoredFrom: attempts.restoredFrom })
    .from(steps)
    .innerJoin(
      attempts,
      and(eq(attempts.runId, resultRun), eq(attempts.step, steps.name), eq(attempts.fence, steps.fence)),
    )
    .where(and(eq(steps.runId, runId), eq(steps.execution, execution)));
  return new Map(rows.flatMap(({ step, restoredFrom }) => (restoredFrom === null ? [] : [[step, restoredFrom]])));
}

/** The set of another run that this run was submitted with. */
export async function getInitialCheckpoint(db: Queryable, runId: string): Promise<CheckpointSet | null> {
  const [row] = await db
    .select(setColumns)
    .from(initialCheckpoints)
    .innerJoin(
      checkpointSets,
      and(
        eq(checkpointSets.runId, initialCheckpoints.fromRunId),
        eq(checkpointSets.step, initialCheckpoints.step),
        eq(checkpointSets.number, initialCheckpoints.number),
      ),
    )
    .where(eq(initialCheckpoints.runId, runId));
  return row ?? null;
}

/**
 * The newest set of the run, for a run that is to start from it; a step that was answered by another run has the sets of
 * that one. Without `step` the run must have checkpoints of one step only. @throws checkpoint-missing
 */
export async function chooseInitialCheckpoint(
  db: Queryable,
  runId: string,
  step: string | null,
): Promise<CheckpointSet> {
  const { rows } = await db.execute<{ [K in keyof CheckpointSet]: CheckpointSet[K] }>(sql`
    with holders as (
      select ${runId}::uuid as run_id, null::text as step
      union
      select s.reused_from, s.name from steps s where s.run_id = ${runId} and s.status = 'reused' and s.kind = 'stage'
    )
    select distinct on (s.step) s.run_id as "runId", s.step, s.number, s.fence, s.digest, s.files,
           s.size_bytes::float8 as "sizeBytes", ${labelOfRun(sql`s.run_id`)} as label
    from checkpoint_sets s join holders h on h.run_id = s.run_id and coalesce(h.step, s.step) = s.step
    order by s.step, s.run_id = ${runId} desc, s.number desc`);
  const found = step === null ? rows : rows.filter((row) => row.step === step);
  const [only, ...others] = found;
  if (only !== undefined && others.length === 0) return only;
  throw await notChosen(db, runId, step, rows);
}

async function notChosen(
  db: Queryable,
  runId: string,
  step: string | null,
  found: readonly CheckpointSet[],
): Promise<DomainError> {
  const { rows } = await db.execute<{ label: string }>(sql`select ${labelOfRun(sql`${runId}::uuid`)} as label`);
  const run = rows[0]?.label ?? runId;
  const names = found.map((set) => set.step).join(', ');
  if (found.length === 0) {
    const message = `${run} has no checkpoints: none of its stages wrote closed files to ASSAY_CHECKPOINT_DIR or its \`checkpoints:\` folder. Name another run, or leave initFrom out.`;
    return new DomainError('checkpoint-missing', message);
  }
  return step === null
    ? new DomainError(
        'checkpoint-missing',
        `${run} has checkpoints of several stages: ${names}. Name one: ${run}:STEP.`,
      )
    : new DomainError('checkpoint-missing', `${run} has no checkpoints of ${step}; it has some of ${names}.`);
}
