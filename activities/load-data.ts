// The step that pins a run's data: the result of each query at the run's as-of, and the version of each dataset.
import type { DataSource, Params, ProjectConfig } from '#core/project.ts';
import { loadDataInputs, type DatasetIngredient, type QueryIngredient } from '#core/step-key.ts';
import type { Database } from '#db/connect.ts';
import { listRunData, pinRunData, type RunData } from '#db/run-data.ts';
import { type LoadedRun, loadRun } from '#db/run-facts.ts';
import { findSnapshot, type SnapshotRow } from '#db/snapshots.ts';
import { materialiseDataset, resolveDataset } from '#lake/datasets.ts';
import { exportSnapshot } from '#lake/export.ts';
import type { Lake } from '#lake/lake.ts';
import { materialise } from '#lake/query.ts';
import { namingDamage } from './damage.ts';
import { paramsOf, readQuery } from './query-text.ts';
import { type PinnedBefore, pinnedBefore, refetch, requireReadable } from './refetch.ts';
import type { SourceCache } from './stage/source-cache.ts';
import { asStep, type ExecutionInput } from './step.ts';
import { keepStepKey } from './step-keys.ts';

export interface LoadDeps {
  db: Database;
  lake: Lake;
  sources: SourceCache;
  publicUrl: string;
}

type Ingredient = QueryIngredient | DatasetIngredient;

/** What is pinned already stays: a resumed execution reads the data of the first. Answers one line of markdown. */
export async function loadData(deps: LoadDeps, input: ExecutionInput): Promise<string> {
  const id = { ...input, step: 'load-data' };
  return await asStep(deps.db, id, async () => {
    const { run } = await loadRun(deps.db, input.runId);
    if (run.config === null) throw new TypeError('a resolved run has its configuration');
    const pinned = new Map((await listRunData(deps.db, run.id)).map((row) => [row.name, row]));
    const before = await pinnedBefore(deps.db, run);
    const ingredients: Ingredient[] = [];
    for (const source of run.config.data) {
      const own = pinned.get(source.name);
      if (own === undefined) ingredients.push(await load(deps, run, source, before));
      else await requireReadable(deps, run, source, own);
    }
    const complete = ingredients.length === run.config.data.length;
    const keyed = { step: 'load-data' as const, inputs: loadDataInputs({ sources: ingredients }) };
    const earlier = complete ? await keepStepKey(deps.db, id, keyed, run) : null;
    const rows = await listRunData(deps.db, run.id);
    const facts = Object.fromEntries(rows.map((row) => [row.name, { to: row.to, digest: row.digest, ...row.facts }]));
    const url = `${deps.publicUrl}/api/v1/runs/${run.id}/data`;
    const isMade = rows.some((row) => row.facts.snapshot === 'materialised');
    return { result: `${rows.map(lineOf).join('; ')} ([all data](${url}))`, facts, earlier: isMade ? null : earlier };
  });
}

async function load(
  deps: LoadDeps,
  run: LoadedRun['run'],
  source: DataSource,
  before: PinnedBefore | null,
): Promise<Ingredient> {
  const row = before === null ? null : await refetch(deps, run, source, before);
  if (row !== null) {
    const snapshot = before?.isReproduced ? 'refetched' : 'read back';
    const facts = { ...row.facts, ...(source.kind === 'query' ? { snapshot } : {}), pinnedTo: before?.label };
    await pinRunData(deps.db, { ...row, runId: run.id, to: source.to, facts });
    return await ingredientOf(deps, run, source, row);
  }
  return source.kind === 'query' ? await loadQuery(deps, run, source) : await loadDataset(deps, run, source);
}

async function loadQuery(
  deps: LoadDeps,
  run: LoadedRun['run'],
  source: Extract<DataSource, { kind: 'query' }>,
): Promise<Ingredient> {
  const query = await readQuery(deps, run, source.query);
  const snapshot = await materialise(deps.lake, { query, params: paramsOf(run), asOf: run.asOf });
  await pinRunData(deps.db, {
    runId: run.id,
    name: source.name,
    to: source.to,
    asOf: run.asOf,
    snapshotId: snapshot.id,
    digest: snapshot.sha256,
    facts: {
      query: source.query,
      rows: snapshot.rows,
      columns: snapshot.columns.length,
      sizeBytes: snapshot.sizeBytes,
      orderedDigest: snapshot.orderedDigest,
      unorderedDigest: snapshot.unorderedDigest,
      engine: snapshot.engine,
      snapshot: snapshot.hit ? 'hit' : 'materialised',
      snapshotId: snapshot.id,
    },
  });
  return queryIngredient(run, source, query, snapshot);
}

/** What a pinned source enters the step's key as. */
async function ingredientOf(
  deps: LoadDeps,
  run: LoadedRun['run'],
  source: DataSource,
  { snapshotId, digest }: RunData,
): Promise<Ingredient> {
  if (source.kind === 'dataset') return datasetIngredient(source, digest);
  const snapshot = await findSnapshot(deps.db, snapshotId ?? '');
  if (snapshot === null) throw new TypeError(`The run's data ${source.name} has no snapshot.`);
  return queryIngredient(run, source, await readQuery(deps, run, source.query), snapshot);
}

export function queryIngredient(
  run: Pick<LoadedRun['run'], 'asOf'>,
  { name, to, format }: Extract<DataSource, { kind: 'query' }>,
  query: string,
  snapshot: Pick<SnapshotRow, 'segments' | 'params' | 'engine'>,
): QueryIngredient {
  const byTable = Map.groupBy(snapshot.segments, (segment) => segment.table);
  const segments = [...byTable].map(([table, list]) => ({ table, sha256: list.map((segment) => segment.sha256) }));
  const asOf = /\$as_of\b/i.test(query) ? run.asOf : null;
  return {
    kind: 'query',
    name,
    to,
    format,
    query,
    params: snapshot.params as Params,
    segments,
    engineVersion: snapshot.engine,
    asOf,
  };
}

export function datasetIngredient(
  { name, to, dataset }: Extract<DataSource, { kind: 'dataset' }>,
  digest: string,
): DatasetIngredient {
  return { kind: 'dataset', name, to, dataset, digest };
}

async function loadDataset(
  deps: LoadDeps,
  run: LoadedRun['run'],
  source: Extract<DataSource, { kind: 'dataset' }>,
): Promise<Ingredient> {
  const { name, to, dataset } = source;
  const found = await resolveDataset(deps.lake, dataset, { asOf: run.asOf });
  await pinRunData(deps.db, {
    runId: run.id,
    name,
    to,
    asOf: run.asOf,
    datasetName: dataset,
    datasetVersion: found.version,
    digest: found.digest,
    facts: { dataset, version: found.version, files: found.files, sizeBytes: found.sizeBytes },
  });
  return datasetIngredient(source, found.digest);
}

function lineOf({ name, facts, datasetName, datasetVersion }: RunData): string {
  return datasetName === null
    ? `${name}: ${String(facts.rows)} rows (${String(facts.snapshot)})`
    : `${name}: dataset ${datasetName} version ${datasetVersion}, ${String(facts.files)} files`;
}

export interface DataWriter {
  to: string;
  write: (path: string) => Promise<void>;
}

/** How each of a run's pinned data comes to the path where a stage expects it. */
export function dataWriters(
  deps: { db: Database; lake: Lake },
  config: ProjectConfig,
  rows: readonly RunData[],
): DataWriter[] {
  return rows.map((row) => ({
    to: row.to,
    write: async (path) => {
      const advice = 'A resumed run reads what a query gave again, if the rows it was made from are still there.';
      const write = () => writeData(deps, config, row, path);
      await namingDamage(`The data ${row.name}`, advice, write, 'data-gone');
    },
  }));
}

async function writeData(
  deps: { db: Database; lake: Lake },
  config: ProjectConfig,
  row: RunData,
  path: string,
): Promise<void> {
  if (row.datasetName !== null) {
    await materialiseDataset(deps.lake, { name: row.datasetName, version: row.datasetVersion ?? 0, destDir: path });
    return;
  }
  const source = config.data.find(({ name }) => name === row.name);
  const snapshot = await findSnapshot(deps.db, row.snapshotId ?? '');
  if (snapshot === null || source?.kind !== 'query') throw new TypeError(`The run's data ${row.name} has no snapshot.`);
  // What was recorded with the run, whatever the snapshot's row says by now.
  await exportSnapshot(deps.lake, { sha256: row.digest, format: source.format, path });
}
