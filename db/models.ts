// The model store: models, versions, aliases. Promotions are in promotions.ts.
import { and, asc, desc, eq, gt, lt, sql } from 'drizzle-orm';
import type { GateReport } from '#core/gate.ts';
import { DomainError } from '#core/errors.ts';
import type { ModelDeclaration } from '#core/project.ts';
import { listArtifactsBelow } from './artifacts.ts';
import type { Queryable, Transaction } from './connect.ts';
import { isoInstant } from './instants.ts';
import { newId } from './ids.ts';
import { runLabel } from './run-label.ts';
import { aliases, models, versions } from './schema/models.ts';
import { projects } from './schema/projects.ts';
import { runs } from './schema/runs.ts';

const aliasesOfModel = sql<Record<string, number>>`coalesce((select jsonb_object_agg(a.alias, a.version)
  from ${aliases} a where a.model_id = ${models.id}), '{}')`;

const modelColumns = {
  id: models.id,
  name: models.name,
  projectId: models.projectId,
  project: projects.name,
  latestVersion: sql<number | null>`nullif(${models.nextVersion} - 1, 0)`,
  aliases: aliasesOfModel,
  createdAt: isoInstant(models.createdAt),
};

export type ModelRow = NonNullable<Awaited<ReturnType<typeof findModel>>>;

/** `onlyProject` narrows to what a token reaches. */
export async function findModel(db: Queryable, name: string, onlyProject: string | null) {
  const [row] = await db
    .select(modelColumns)
    .from(models)
    .innerJoin(projects, eq(projects.id, models.projectId))
    .where(and(eq(models.name, name), onlyProject === null ? undefined : eq(models.projectId, onlyProject)));
  return row;
}

export async function listModels(
  db: Queryable,
  page: { projectId: string | null; limit: number; after: string | null },
): Promise<ModelRow[]> {
  return await db
    .select(modelColumns)
    .from(models)
    .innerJoin(projects, eq(projects.id, models.projectId))
    .where(
      and(
        page.projectId === null ? undefined : eq(models.projectId, page.projectId),
        page.after === null ? undefined : gt(models.name, page.after),
      ),
    )
    .orderBy(asc(models.name))
    .limit(page.limit);
}

const versionColumns = {
  model: models.name,
  modelId: models.id,
  version: versions.number,
  run: versions.runId,
  runLabel: runLabel,
  commit: runs.commit,
  gateResult: runs.gateResult,
  gateReport: runs.gateReport,
  aliases: sql<string[]>`array(select a.alias from ${aliases} a
    where a.model_id = ${models.id} and a.version = ${versions.number} order by a.alias)`,
  createdAt: isoInstant(versions.createdAt),
};

function selectVersions(db: Queryable) {
  return db
    .select(versionColumns)
    .from(versions)
    .innerJoin(models, eq(models.id, versions.modelId))
    .innerJoin(runs, eq(runs.id, versions.runId))
    .innerJoin(projects, eq(projects.id, runs.projectId));
}

export type VersionRow = NonNullable<Awaited<ReturnType<typeof findVersion>>>;

export async function findVersion(db: Queryable, modelId: string, number: number) {
  const [row] = await selectVersions(db).where(and(eq(versions.modelId, modelId), eq(versions.number, number)));
  return row;
}

/** Newest first. */
export async function listVersions(
  db: Queryable,
  modelId: string,
  page: { limit: number; before: number | null },
): Promise<VersionRow[]> {
  return await selectVersions(db)
    .where(and(eq(versions.modelId, modelId), page.before === null ? undefined : lt(versions.number, page.before)))
    .orderBy(desc(versions.number))
    .limit(page.limit);
}

export async function findAliased(db: Queryable, modelId: string, alias: string): Promise<VersionRow | undefined> {
  const [row] = await selectVersions(db)
    .innerJoin(aliases, and(eq(aliases.modelId, versions.modelId), eq(aliases.version, versions.number)))
    .where(and(eq(versions.modelId, modelId), eq(aliases.alias, alias)));
  return row;
}

export interface CreatedVersion {
  modelId: string;
  model: string;
  version: number;
}

/**
 * The versions a run makes, one per model its project declares and it wrote files of. Repeating it answers the same versions. The caller has
 * written the gate's result in this transaction or before. Models are locked in the order of their names.
 * @throws not-promotable when the gate failed or was not evaluated, conflict for a name of another project.
 */
export async function createVersions(tx: Transaction, runId: string): Promise<CreatedVersion[]> {
  const [run] = await tx
    .select({
      id: runs.id,
      projectId: runs.projectId,
      config: runs.config,
      gateResult: runs.gateResult,
      reproduces: runs.reproduces,
    })
    .from(runs)
    .where(eq(runs.id, runId));
  const declared = run?.config?.models ?? [];
  if (run === undefined || declared.length === 0) return [];
  if (run.reproduces !== null) throw reproductionNotPromotable();
  if (run.gateResult !== 'passed' && run.gateResult !== 'none') {
    const found = run.gateResult === null ? 'was not evaluated' : 'failed';
    throw new DomainError('not-promotable', `A run makes a version once its gate passed; this run's gate ${found}.`);
  }
  const written = await modelsWithFiles(tx, runId, declared);
  const created: CreatedVersion[] = [];
  for (const name of [...new Set(written)].toSorted()) created.push(await createVersion(tx, run, name));
  return created;
}

/** The proof of a version is not another version. */
export function reproductionNotPromotable(): DomainError {
  return new DomainError(
    'not-promotable',
    'The run reproduces another one, so it makes no version and can not be promoted. Promote the version of its original.',
  );
}

/** A version without files could be promoted and would serve nothing. */
async function modelsWithFiles(
  tx: Transaction,
  runId: string,
  declared: readonly ModelDeclaration[],
): Promise<string[]> {
  const names: string[] = [];
  for (const { name, path } of declared) {
    if ((await listArtifactsBelow(tx, runId, path)).length > 0) names.push(name);
  }
  return names;
}

async function createVersion(
  tx: Transaction,
  run: { id: string; projectId: string },
  name: string,
): Promise<CreatedVersion> {
  const model = await lockModel(tx, run.projectId, name);
  const [existing] = await tx
    .select({ number: versions.number })
    .from(versions)
    .where(and(eq(versions.modelId, model.id), eq(versions.runId, run.id)));
  if (existing !== undefined) return { modelId: model.id, model: name, version: existing.number };
  await tx.insert(versions).values({ modelId: model.id, number: model.nextVersion, runId: run.id });
  await tx
    .update(models)
    .set({ nextVersion: sql`${models.nextVersion} + 1` })
    .where(eq(models.id, model.id));
  return { modelId: model.id, model: name, version: model.nextVersion };
}

async function lockModel(tx: Transaction, projectId: string, name: string) {
  await tx.insert(models).values({ id: newId(), projectId, name }).onConflictDoNothing();
  const [model] = await tx.select().from(models).where(eq(models.name, name)).for('update');
  if (model?.projectId === projectId) return model;
  throw new DomainError(
    'conflict',
    `The model name "${name}" belongs to another project. Give the model another name under \`model:\` in assay.yaml.`,
  );
}

/** The stored report of a run's gate; its shape is core's. */
export function gateReportOf(value: unknown): GateReport | null {
  return value === null || value === undefined ? null : (value as GateReport);
}
