// Reading two runs side by side: what each was made from, and those of their metrics and files that differ. The joins
// are Postgres' work, so equal things never travel.
import { eq, inArray, type SQL, sql } from 'drizzle-orm';
import type { ArtifactPair, MetricPair } from '#core/diff.ts';
import { type MetricSummary, parseMetric } from '#core/metrics.ts';
import type { StepStatus } from '#core/run.ts';
import type { Queryable } from './connect.ts';
import { isoInstant, isoInstantOrNull } from './instants.ts';
import { labelOfRun, runLabel } from './run-label.ts';
import { environments } from './schema/environments.ts';
import { projects } from './schema/projects.ts';
import { runs } from './schema/runs.ts';

export interface DiffStep {
  name: string;
  kind: 'platform' | 'stage';
  status: StepStatus;
  stepKey: string | null;
  durationMs: number | null;
  /** Label of the run that holds a reused result. */
  reusedFrom: string | null;
  secrets: Array<{ name: string; version: number }> | null;
  threads: number | null;
  /** Of build-environment: the requirement files that entered the lock. */
  files: string[] | null;
  /** Of the attempt that made the result. */
  hardware: Record<string, unknown> | null;
}

export interface DiffDatum {
  name: string;
  to: string;
  asOf: string;
  digest: string;
  dataset: string | null;
  version: number | null;
  facts: Record<string, unknown>;
  snapshot: { columns: Array<{ name: string; type: string }>; unorderedDigest: string } | null;
}

/** The steps of the newest execution, in order. */
const stepsOfRun = sql<DiffStep[]>`coalesce((
  select jsonb_agg(jsonb_build_object(
    'name', s.name, 'kind', s.kind, 'status', s.status, 'stepKey', s.step_key,
    'durationMs', round(extract(epoch from s.finished_at - s.started_at) * 1000),
    'reusedFrom', ${labelOfRun(sql`s.reused_from`)},
    'secrets', s.ingredients -> 'secrets', 'threads', s.ingredients -> 'threads',
    'files', case when s.name = 'build-environment' then s.facts -> 'files' end,
    'hardware', (select a.hardware from attempts a
      where a.run_id = coalesce(s.reused_from, s.run_id) and a.step = s.name and a.fence = s.fence)
  ) order by s.position, s.name)
  from steps s
  where s.run_id = ${runs.id} and s.execution = (select max(e.n) from executions e where e.run_id = ${runs.id})), '[]')`;

const dataOfRun = sql<DiffDatum[]>`coalesce((
  select jsonb_agg(jsonb_build_object(
    'name', d.name, 'to', d.to, 'asOf', ${isoInstant(sql`d.as_of`)}, 'digest', d.digest,
    'dataset', d.dataset_name, 'version', d.dataset_version, 'facts', d.facts,
    'snapshot', (select jsonb_build_object('columns', n.columns, 'unorderedDigest', n.unordered_digest)
      from snapshots n where n.id = d.snapshot_id)
  ) order by d.name)
  from run_data d where d.run_id = ${runs.id}), '[]')`;

export type DiffRun = NonNullable<Awaited<ReturnType<typeof readDiffRuns>>>[0];

/** Both runs exist: their ids were found before. The same id twice answers the same row twice. */
export async function readDiffRuns(db: Queryable, before: string, after: string) {
  const rows = await db
    .select({
      id: runs.id,
      projectId: runs.projectId,
      label: runLabel,
      status: runs.status,
      failure: runs.failure,
      commit: runs.commit,
      tree: runs.tree,
      branch: runs.branch,
      commitMessage: runs.commitMessage,
      dirty: runs.dirty,
      sourceSha256: runs.sourceSha256,
      config: runs.config,
      params: runs.params,
      seed: runs.seed,
      gateResult: runs.gateResult,
      startedAt: isoInstantOrNull(runs.startedAt),
      finishedAt: isoInstantOrNull(runs.finishedAt),
      environmentKey: runs.environmentKey,
      lockSha256: environments.lockSha256,
      python: environments.python,
      platform: environments.platform,
      base: environments.base,
      steps: stepsOfRun,
      data: dataOfRun,
    })
    .from(runs)
    .innerJoin(projects, eq(projects.id, runs.projectId))
    .leftJoin(environments, eq(environments.environmentKey, runs.environmentKey))
    .where(inArray(runs.id, [before, after]));
  const [a, b] = [before, after].map((id) => rows.find((row) => row.id === id));
  if (a === undefined || b === undefined) throw new TypeError('Both runs were found before, and runs are not deleted.');
  return [a, b] as const;
}

/** One row per step of the newest execution with the attempt whose files and numbers are shown as the run's own. */
const heldBy = (runId: string): SQL => sql`(
  select s.name, s.position, coalesce(s.reused_from, s.run_id) as run_id,
    coalesce(s.fence, (select max(a.fence) from attempts a where a.run_id = s.run_id and a.step = s.name)) as fence
  from steps s
  where s.run_id = ${runId}::uuid and s.execution = (select max(e.n) from executions e where e.run_id = ${runId}::uuid))`;

/** Rows of `table` that both sides read from the same attempt are equal, and not read at all. */
const sideOf = (table: 'metrics' | 'artifacts', runId: string, otherId: string): SQL => sql`(
  select h.position, t.* from ${heldBy(runId)} h
  join ${sql.identifier(table)} t on t.run_id = h.run_id and t.step = h.name and t.fence = h.fence
  where not exists (select 1 from ${heldBy(otherId)} o where o.name = h.name and o.run_id = h.run_id and o.fence = h.fence))`;

interface Differing<T> {
  items: T[];
  /** All that differ, also those beyond the limit. */
  differing: number;
}

type MetricNumbers = [last: string, min: string, max: string, count: number, lastStep: number | null];
type MetricRow = [stage: string, key: string, before: MetricNumbers | null, after: MetricNumbers | null];

const metricNumbers = (side: 'a' | 'b') => {
  const column = (name: string) => sql`${sql.identifier(side)}.${sql.identifier(name)}`;
  return sql`case when ${column('key')} is not null
    then json_build_array(${column('last')}, ${column('min')}, ${column('max')}, ${column('count')}, ${column('last_step')}) end`;
};

/** Metrics of the two runs that are not equal: those of `first`, then by the order of the steps. */
export async function differingMetrics(
  db: Queryable,
  { before, after }: { before: string; after: string },
  { first, limit }: { first: readonly string[]; limit: number },
): Promise<Differing<MetricPair>> {
  // One value for all rows: the driver's work per row and column costs more than the query.
  const { rows } = await db.execute<{ differing: number; items: MetricRow[] | null }>(sql`
    with pairs as (
      select coalesce(b.position, a.position) as position, coalesce(a.step, b.step) as stage,
        coalesce(a.key, b.key) as key, ${metricNumbers('a')} as before, ${metricNumbers('b')} as after
      from ${sideOf('metrics', before, after)} a
      full join ${sideOf('metrics', after, before)} b on b.step = a.step and b.key = a.key
      where (a.last, a.min, a.max, a.count, a.last_step) is distinct from (b.last, b.min, b.max, b.count, b.last_step)),
    shown as (
      select * from pairs
      order by array_position(${sql.param([...first])}::text[], key), position, stage, key
      limit ${limit})
    select (select count(*)::int from pairs) as differing,
      (select json_agg(json_build_array(stage, key, before, after)) from shown) as items`);
  const [row] = rows;
  const items = (row?.items ?? []).map(([stage, key, a, b]) => ({
    stage,
    key,
    before: a && summaryOf(key, a),
    after: b && summaryOf(key, b),
  }));
  return { items, differing: row?.differing ?? 0 };
}

function summaryOf(key: string, [last, min, max, count, lastStep]: MetricNumbers): MetricSummary {
  return { key, last: parseMetric(last), min: parseMetric(min), max: parseMetric(max), count, lastStep };
}

const fileVersion = (side: 'a' | 'b') => sql`case when ${sql.identifier(side)}.path is not null
  then json_build_object('sha256', ${sql.identifier(side)}.sha256, 'sizeBytes', ${sql.identifier(side)}.size_bytes) end`;

/** Files of the two runs whose contents differ, or that only one has, by the order of the steps. */
export async function differingArtifacts(
  db: Queryable,
  { before, after }: { before: string; after: string },
  limit: number,
): Promise<Differing<ArtifactPair>> {
  const { rows } = await db.execute<{ differing: number; items: ArtifactPair[] | null }>(sql`
    with pairs as (
      select coalesce(b.position, a.position) as position, coalesce(a.step, b.step) as stage,
        coalesce(a.path, b.path) as path, ${fileVersion('a')} as before, ${fileVersion('b')} as after
      from ${sideOf('artifacts', before, after)} a
      full join ${sideOf('artifacts', after, before)} b on b.step = a.step and b.path = a.path
      where (a.sha256, a.executable) is distinct from (b.sha256, b.executable)),
    shown as (select * from pairs order by position, stage, path limit ${limit})
    select (select count(*)::int from pairs) as differing,
      (select json_agg(json_build_object('stage', stage, 'path', path, 'before', before, 'after', after)) from shown) as items`);
  return { items: rows[0]?.items ?? [], differing: rows[0]?.differing ?? 0 };
}

export interface DatasetAt {
  dataset: string;
  version: number;
}

export interface DatasetFilePair {
  path: string;
  before: { sha256: string; sizeBytes: number } | null;
  after: { sha256: string; sizeBytes: number } | null;
}

/** Files of two versions of datasets that differ. */
export async function differingFiles(
  db: Queryable,
  before: DatasetAt,
  after: DatasetAt,
  limit: number,
): Promise<Differing<DatasetFilePair>> {
  const files = ({ dataset, version }: DatasetAt) =>
    sql`(select path, sha256, size_bytes from dataset_files where dataset_name = ${dataset} and version = ${version})`;
  const { rows } = await db.execute<Record<string, unknown> & DatasetFilePair & { differing: number }>(sql`
    select coalesce(a.path, b.path) as path, ${fileVersion('a')} as before, ${fileVersion('b')} as after,
      count(*) over ()::int as differing
    from ${files(before)} a full join ${files(after)} b on b.path = a.path
    where a.sha256 is distinct from b.sha256
    order by path
    limit ${limit}`);
  return { items: rows.map(({ differing: _differing, ...pair }) => pair), differing: rows[0]?.differing ?? 0 };
}

/** The profiles of the snapshots a run was given, by name. */
export async function readProfiles(db: Queryable, runId: string): Promise<Map<string, unknown>> {
  const { rows } = await db.execute<{ name: string; profile: unknown }>(sql`
    select d.name, n.profile from run_data d join snapshots n on n.id = d.snapshot_id where d.run_id = ${runId}::uuid`);
  return new Map(rows.map(({ name, profile }) => [name, profile]));
}
