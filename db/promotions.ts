// Promotion: one transaction that compares the champion, checks the gate, pins what must stay, records and moves the
// alias. Whoever promotes (a person, a rule) comes through here, so there is one champion at every instant.
import { and, desc, eq, lt, sql } from 'drizzle-orm';
import { DomainError } from '#core/errors.ts';
import { type Champion, evaluateGate, type GateReport, gateNamesChampion, gateSentence } from '#core/gate.ts';
import { recordAudit } from './audit.ts';
import { listArtifacts } from './artifacts.ts';
import type { Database, Queryable, Transaction } from './connect.ts';
import { type RequestKey, rememberRequest } from './idempotency.ts';
import { isoInstant } from './instants.ts';
import { listMetrics } from './metrics.ts';
import { gateReportOf, reproductionNotPromotable } from './models.ts';
import { blobs } from './schema/blobs.ts';
import { environments, environmentWheels } from './schema/environments.ts';
import { snapshots } from './schema/lake.ts';
import { aliases, models, pins, promotions, versions } from './schema/models.ts';
import { runData } from './schema/run-data.ts';
import { runs } from './schema/runs.ts';

export interface PromotionRequest {
  modelId: string;
  version: number;
  alias: string;
  by: string;
  reason: string | null;
  /** The version the caller saw behind the alias (null: none); undefined does not compare. */
  expectedChampion?: number | null | undefined;
}

const columns = {
  id: promotions.id,
  model: models.name,
  alias: promotions.alias,
  version: promotions.version,
  previousVersion: promotions.previousVersion,
  run: promotions.runId,
  by: promotions.by,
  reason: promotions.reason,
  evidence: promotions.evidence,
  at: isoInstant(promotions.at),
};

export type PromotionRow = Awaited<ReturnType<typeof listPromotions>>[number];

/** Newest first; replaying them oldest first gives the aliases as they stand. */
export async function listPromotions(
  db: Queryable,
  modelId: string,
  page: { limit: number; before: number | null; id?: number },
) {
  return await db
    .select(columns)
    .from(promotions)
    .innerJoin(models, eq(models.id, promotions.modelId))
    .where(
      and(
        eq(promotions.modelId, modelId),
        page.id === undefined ? undefined : eq(promotions.id, page.id),
        page.before === null ? undefined : lt(promotions.id, page.before),
      ),
    )
    .orderBy(desc(promotions.id))
    .limit(page.limit);
}

/**
 * Moves the alias to the version. Repeating it with the same request key answers the first promotion.
 * @throws not-found, champion-moved, gate-failed, not-promotable, conflict, idempotency-conflict
 */
export async function promote(
  db: Database,
  wanted: PromotionRequest,
  request: RequestKey | null = null,
): Promise<PromotionRow> {
  return await db.transaction((tx) => promoteIn(tx, wanted, request));
}

/** The same inside a transaction that the caller holds. */
export async function promoteIn(
  tx: Transaction,
  wanted: PromotionRequest,
  request: RequestKey | null,
): Promise<PromotionRow> {
  const current = await lockAlias(tx, wanted);
  const id = await nextPromotionId(tx);
  const earlier = await rememberRequest(tx, request, String(id));
  if (earlier !== null) return await promotionById(tx, wanted.modelId, Number(earlier));
  compareChampion(wanted, current);
  const { run, version } = await loadVersion(tx, wanted);
  refuseUnpromotable(wanted, run);
  const evidence = await checkGate(tx, wanted, run, current);
  await pinEverything(tx, wanted, run);
  await tx.insert(promotions).values({
    id,
    modelId: wanted.modelId,
    alias: wanted.alias,
    version: version.number,
    previousVersion: current,
    runId: run.id,
    by: wanted.by,
    reason: wanted.reason,
    evidence,
  });
  await moveAlias(tx, wanted);
  const facts = { alias: wanted.alias, version: wanted.version, previous: current, promotion: id };
  await recordAudit(tx, { actor: wanted.by, action: 'model.promote', target: wanted.modelId, facts });
  return await promotionById(tx, wanted.modelId, id);
}

/** The model's row is locked first, because the alias has no row before its first promotion. */
async function lockAlias(tx: Transaction, { modelId, alias }: PromotionRequest): Promise<number | null> {
  await tx.select({ id: models.id }).from(models).where(eq(models.id, modelId)).for('update');
  const [row] = await tx
    .select()
    .from(aliases)
    .where(and(eq(aliases.modelId, modelId), eq(aliases.alias, alias)))
    .for('update');
  return row?.version ?? null;
}

/** Taken under the model's lock, so that ids of one model grow in the order of its promotions. */
async function nextPromotionId(tx: Transaction): Promise<number> {
  const found = await tx.execute<{ id: string }>(sql`select nextval(pg_get_serial_sequence('promotions', 'id')) as id`);
  return Number(found.rows[0]?.id);
}

async function promotionById(tx: Transaction, modelId: string, id: number): Promise<PromotionRow> {
  const [row] = await listPromotions(tx, modelId, { limit: 1, before: null, id });
  if (row === undefined) throw new TypeError(`Promotion ${id} is gone although promotions are append-only.`);
  return row;
}

function compareChampion({ alias, expectedChampion }: PromotionRequest, current: number | null): void {
  if (expectedChampion === undefined || expectedChampion === current) return;
  const [found, expected] = [current, expectedChampion].map((version) =>
    version === null ? 'no version' : `version ${version}`,
  );
  throw new DomainError(
    'champion-moved',
    `${alias} points at ${found} now, and you expected ${expected}. Look at what was promoted meanwhile, then decide again.`,
  );
}

async function loadVersion(tx: Transaction, { modelId, version }: PromotionRequest) {
  const [row] = await tx
    .select({ version: versions, run: runs })
    .from(versions)
    .innerJoin(runs, eq(runs.id, versions.runId))
    .where(and(eq(versions.modelId, modelId), eq(versions.number, version)));
  if (row === undefined) {
    throw new DomainError('not-found', `The model has no version ${version}. List them with \`assay models\`.`);
  }
  return row;
}

type Run = typeof runs.$inferSelect;

function refuseUnpromotable(wanted: PromotionRequest, run: Run): void {
  if (run.reproduces !== null) throw reproductionNotPromotable();
  if (run.dirty) {
    throw new DomainError(
      'not-promotable',
      'The run was submitted with uncommitted changes, which no one can find in the history. Commit them and run again.',
    );
  }
  if (run.gateResult === 'none' && (wanted.reason ?? '').trim() === '') {
    throw new DomainError(
      'not-promotable',
      'The project has no gate, so nothing says that this version is good. Give a reason, or add rules under `gate:`.',
    );
  }
}

/** The report that counts now: evaluated again when a rule names the champion and another one stands there. */
async function checkGate(
  tx: Transaction,
  wanted: PromotionRequest,
  run: Run,
  current: number | null,
): Promise<GateReport | null> {
  const { config } = run;
  const stored = gateReportOf(run.gateReport);
  const rules = config?.gate ?? [];
  const report =
    config !== null && gateNamesChampion(rules)
      ? evaluateGate({
          rules,
          metrics: await listMetrics(tx, run.id),
          declare: config.metrics.declare,
          champion: await loadChampion(tx, wanted, run, current),
        })
      : stored;
  const result = report?.result ?? run.gateResult;
  if (result === 'passed' || result === 'none') return report;
  const found = report === null ? 'The gate was not evaluated' : `The gate ${gateSentence(report)}`;
  throw new DomainError(
    'gate-failed',
    `${found}. Only a version whose gate passes against today's champion can be promoted.`,
  );
}

/** Rules speak of what `production` of the project's first model points at, whatever alias and model are promoted. */
async function loadChampion(
  tx: Queryable,
  wanted: Pick<PromotionRequest, 'modelId' | 'alias'> | null,
  run: Run,
  current: number | null,
): Promise<Champion | null> {
  const [model] = await tx
    .select({ id: models.id, name: models.name })
    .from(models)
    .where(eq(models.name, run.config?.models[0]?.name ?? ''));
  if (model === undefined) return null;
  const isLocked = model.id === wanted?.modelId && wanted.alias === 'production';
  const number = isLocked ? current : await aliased(tx, model.id, 'production');
  if (number === null) return null;
  const [champion] = await tx
    .select({ runId: versions.runId })
    .from(versions)
    .where(and(eq(versions.modelId, model.id), eq(versions.number, number)));
  if (champion === undefined || champion.runId === run.id) return null;
  const [mine, theirs] = [await dataDigests(tx, run.id), await dataDigests(tx, champion.runId)];
  const metrics = await listMetrics(tx, champion.runId);
  return { model: model.name, version: number, metrics, sameData: mine === theirs };
}

/** The champion that a run at its gate is compared with; null when there is none. */
export async function findChampion(db: Queryable, run: Run): Promise<Champion | null> {
  return await loadChampion(db, null, run, null);
}

/** A champion that a gate met before, with its metrics as they were: those of a finished run never change. */
export async function findChampionOf(
  db: Queryable,
  { model, version, sameData }: NonNullable<GateReport['champion']>,
): Promise<Champion | null> {
  const [row] = await db
    .select({ runId: versions.runId })
    .from(versions)
    .innerJoin(models, eq(models.id, versions.modelId))
    .where(and(eq(models.name, model), eq(versions.number, version)));
  return row === undefined ? null : { model, version, metrics: await listMetrics(db, row.runId), sameData };
}

/** Whether the run's version of the model was promoted before, by whomever. */
export async function wasPromoted(db: Queryable, modelId: string, runId: string): Promise<boolean> {
  const rows = await db
    .select({ id: promotions.id })
    .from(promotions)
    .where(and(eq(promotions.modelId, modelId), eq(promotions.runId, runId)))
    .limit(1);
  return rows.length > 0;
}

async function aliased(tx: Queryable, modelId: string, alias: string): Promise<number | null> {
  const [row] = await tx
    .select()
    .from(aliases)
    .where(and(eq(aliases.modelId, modelId), eq(aliases.alias, alias)));
  return row?.version ?? null;
}

async function dataDigests(db: Queryable, runId: string): Promise<string> {
  const rows = await db
    .select({ name: runData.name, digest: runData.digest })
    .from(runData)
    .where(eq(runData.runId, runId));
  return rows
    .map((row) => `${row.name} ${row.digest}`)
    .toSorted()
    .join('\n');
}

async function moveAlias(tx: Transaction, { modelId, alias, version }: PromotionRequest): Promise<void> {
  const movedAt = sql`clock_timestamp()`;
  await tx
    .insert(aliases)
    .values({ modelId, alias, version, movedAt })
    .onConflictDoUpdate({ target: [aliases.modelId, aliases.alias], set: { version, movedAt } });
}

interface Pin {
  sha256: string;
  what: string;
}

/** Everything the promise needs: what the run made, its manifest, and what that was made from. */
async function pinEverything(tx: Transaction, wanted: PromotionRequest, run: Run): Promise<void> {
  const files = await listArtifacts(tx, run.id, { all: false });
  const wantedPins: Pin[] = [
    ...files.map(({ sha256, path }) => ({ sha256, what: `artifact ${path}` })),
    ...(await runPins(tx, run)),
    ...(await dataPins(tx, run.id)),
  ];
  const digests = [...new Set(wantedPins.map((pin) => pin.sha256))].toSorted();
  await lockLive(tx, digests);
  for (const part of chunks(wantedPins, 1000)) {
    const values = part.map((pin) => ({ ...pin, modelId: wanted.modelId, version: wanted.version }));
    await tx.insert(pins).values(values).onConflictDoNothing();
  }
}

async function runPins(tx: Transaction, run: Run): Promise<Pin[]> {
  const [environment] =
    run.environmentKey === null
      ? []
      : await tx.select().from(environments).where(eq(environments.environmentKey, run.environmentKey));
  const parts = [
    { what: 'manifest', sha256: run.manifestSha256 },
    { what: 'statement', sha256: run.statementSha256 },
    { what: 'source', sha256: run.sourceSha256 },
    { what: 'lock', sha256: environment?.lockSha256 ?? null },
    ...(environment === undefined ? [] : await wheelPins(tx, environment.environmentKey)),
  ];
  return parts.filter((part): part is Pin => part.sha256 !== null);
}

async function wheelPins(tx: Transaction, environmentKey: string): Promise<Pin[]> {
  const wheels = await tx.select().from(environmentWheels).where(eq(environmentWheels.environmentKey, environmentKey));
  return wheels.map(({ filename, sha256 }) => ({ what: `wheel ${filename}`, sha256 }));
}

/** Snapshots with the segments they were made of, and the files of datasets. */
async function dataPins(tx: Transaction, runId: string): Promise<Pin[]> {
  const queried = await tx
    .select({ name: runData.name, sha256: snapshots.sha256, segments: snapshots.segments })
    .from(runData)
    .innerJoin(snapshots, eq(snapshots.id, runData.snapshotId))
    .where(eq(runData.runId, runId));
  const given = await tx.execute<{ name: string; path: string; sha256: string }>(sql`
    select d.name, f.path, f.sha256 from run_data d
    join dataset_files f on f.dataset_name = d.dataset_name and f.version = d.dataset_version
    where d.run_id = ${runId}`);
  return [
    ...queried.flatMap(({ name, sha256, segments }) => [
      { sha256, what: `snapshot ${name}` },
      ...segments.map((segment) => ({ sha256: segment.sha256, what: `segment of ${segment.table}` })),
    ]),
    ...given.rows.map(({ name, path, sha256 }) => ({ sha256, what: `dataset ${name} ${path}` })),
  ];
}

/** A reference may only be made to a blob that is live and stays so until commit; locked in one order. */
async function lockLive(tx: Transaction, digests: string[]): Promise<void> {
  if (digests.length === 0) return;
  const found = await tx.execute<{ sha256: string }>(sql`
    select sha256 from ${blobs} where sha256 = any(${sql.param(digests)}::text[]) and state = 'live'
    order by sha256 for key share`);
  const live = new Set(found.rows.map((row) => row.sha256));
  const missing = digests.filter((sha256) => !live.has(sha256));
  if (missing.length === 0) return;
  throw new DomainError(
    'not-promotable',
    `${missing.length} blobs that the version needs are gone (${missing.slice(0, 3).join(', ')}). Run it again, then promote.`,
  );
}

function chunks<T>(items: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, at) => items.slice(at * size, (at + 1) * size));
}
