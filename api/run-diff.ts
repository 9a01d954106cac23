// Two runs compared: the facts are read and joined in Postgres, the code by git, and core says what differs.
import type { DataChange as DataChangeView, MetricChange as MetricChangeView, RunDiff } from '#contract/diff.ts';
import { digestedPaths, stageTree } from '#core/code-scope.ts';
import {
  type Causes,
  type CodeFileChange,
  compareArtifacts,
  compareInputs,
  compareMetrics,
  compareValues,
  type DataChange,
  type DataFacts,
  differingKeys,
  hasCause,
  type MetricChange,
  namedMetrics,
  notCompared,
  type RunInputs,
  type What,
  whatOf,
} from '#core/diff.ts';
import { dataText, type DiffSide, diffSentence } from '#core/diff-sentence.ts';
import { DomainError } from '#core/errors.ts';
import type { Params } from '#core/project.ts';
import { compileGlob } from '#activities/stage/workspace.ts';
import {
  type DatasetAt,
  differingArtifacts,
  differingFiles,
  differingMetrics,
  type DiffDatum,
  type DiffRun,
  type DiffStep,
  readDiffRuns,
  readProfiles,
} from '#db/run-diff.ts';
import { packageChanges } from '#environment/lock-difference.ts';
import { ignoreFile, ignoreGlob } from '#git/code-digest.ts';
import type { CodeDiff } from '#git/diff.ts';
import type { ColumnProfile, Profile } from '#lake/engine/operations.ts';
import { readBlob } from '#storage/keep.ts';
import type { ApiDeps } from './deps.ts';
import { spelled } from './routes/metrics.ts';

type Deps = Pick<ApiDeps, 'connection' | 'store' | 'mirrors'>;

/** `title` is what the run is known as here, such as `the champion digits version 3`. */
interface Side {
  id: string;
  title: string | null;
}

export interface DiffWish {
  patchBytesMax: number;
  profile: boolean;
  /** Long lists whole. */
  all: boolean;
}

/** What one answer carries at most; counts tell how much there is. */
const rowsMax = { short: { metrics: 1_000, artifacts: 1_000 }, all: { metrics: 20_000, artifacts: 10_000 } };
const codeFilesMax = 1_000;
const datasetFilesMax = 200;
const ignoreBytesMax = 256 * 1024;

export async function diffRuns(
  deps: Deps,
  { before, after }: { before: Side; after: Side },
  wish: DiffWish,
): Promise<RunDiff> {
  const { db } = deps.connection;
  const [a, b] = await readDiffRuns(db, before.id, after.id);
  const ids = { before: before.id, after: after.id };
  const named = [...new Set([...namedMetrics(b.config), ...namedMetrics(a.config)])];
  const limits = wish.all ? rowsMax.all : rowsMax.short;
  const [metricPairs, artifactPairs, code, locks] = await Promise.all([
    differingMetrics(db, ids, { first: named, limit: limits.metrics }),
    differingArtifacts(db, ids, limits.artifacts),
    diffCode(deps, a, b, wish.patchBytesMax),
    locksOf(deps, a, b),
  ]);
  const [inputsA, inputsB] = [inputsOf(a, locks), inputsOf(b, locks)];
  const causes: Causes = {
    code: code?.files ?? [],
    packages: locks.changes,
    ...compareInputs(inputsA, inputsB),
  };
  const metrics = compareMetrics(metricPairs.items, a.config, b.config);
  const artifacts = compareArtifacts(artifactPairs.items);
  const notes = [...notCompared(inputsA, inputsB), ...(code?.notes ?? [])];
  const keys = hasCause(causes) ? [] : differingKeys(inputsA, inputsB);
  const sentence = diffSentence({
    before: sideOf(a, before.title),
    after: sideOf(b, after.title),
    isSame: a.id === b.id,
    causes,
    unexplained: code?.isUnknown === true ? ['the code'] : keys.map((stage) => `the inputs of ${stage}`),
    notes,
    metrics,
    artifacts,
    metricsDiffering: metricPairs.differing - metrics.filter(({ timing }) => timing).length,
    artifactsDiffering: artifactPairs.differing,
    named,
  });
  return {
    before: sideView(a, before.title),
    after: sideView(b, after.title),
    sentence,
    notes,
    ...viewOf(causes),
    code: code === null || code.isUnknown ? null : codeView(code),
    data: await dataViews(deps, causes.data, a, b, wish),
    results: {
      gateResult: a.gateResult === b.gateResult ? null : { before: a.gateResult, after: b.gateResult },
      metrics: { differing: metricPairs.differing, items: metrics.map(metricView) },
      artifacts: { differing: artifactPairs.differing, items: artifacts },
    },
    durations: durationsOf(a.steps, b.steps),
  };
}

function sideOf({ label, status, gateResult }: DiffRun, title: string | null): DiffSide {
  return { label, title, status, gateResult };
}

function sideView(
  { id, label, status, commit, branch, commitMessage }: DiffRun,
  title: string | null,
): RunDiff['before'] {
  return { id, label, title, status, commit, branch, commitMessage };
}

function viewOf({ parameters, packages, environment, seed, stages, hardware, gate }: Causes) {
  return { parameters, packages, environment, seed, stages, hardware, gate };
}

function metricView({ before, after, ...change }: MetricChange): MetricChangeView {
  return { ...change, before: before === null ? null : spelled(before), after: after === null ? null : spelled(after) };
}

function inputsOf(run: DiffRun, { lost }: Locks): RunInputs {
  const { label, config, params, seed, python, platform, base } = run;
  const stages = run.steps.filter(({ kind }) => kind === 'stage');
  const loads = config !== null && config.data.length > 0;
  return {
    label,
    config,
    params: params as Params | null,
    seed,
    data: loads && run.data.length === 0 ? null : run.data.map(dataFacts),
    environment: python === null || platform === null ? null : { python, platform, base },
    isLockLost: run.lockSha256 !== null && lost.includes(run.lockSha256),
    atLaunch: Object.fromEntries(
      stages
        .filter(({ secrets }) => secrets !== null)
        .map(({ name, secrets, threads }) => {
          return [
            name,
            { secrets: Object.fromEntries((secrets ?? []).map((one) => [one.name, one.version])), threads },
          ];
        }),
    ),
    hardware: Object.fromEntries(stages.flatMap(({ name, hardware }) => (hardware === null ? [] : [[name, hardware]]))),
    stepKeys: Object.fromEntries(stages.flatMap(({ name, stepKey }) => (stepKey === null ? [] : [[name, stepKey]]))),
  };
}

function dataFacts({ name, to, asOf, digest, dataset, version, facts, snapshot }: DiffDatum): DataFacts {
  const number = (value: unknown) => (typeof value === 'number' ? value : null);
  return {
    name,
    to,
    source:
      dataset === null
        ? typeof facts['query'] === 'string'
          ? facts['query']
          : 'query'
        : `dataset ${dataset} version ${version}`,
    digest,
    asOf,
    rows: number(facts['rows']),
    files: number(facts['files']),
    sizeBytes: number(facts['sizeBytes']),
    columns: snapshot?.columns ?? null,
    unorderedDigest: snapshot?.unorderedDigest ?? null,
  };
}

interface CodeFound {
  files: CodeFileChange[];
  patch: string;
  isPatchCut: boolean;
  notes: string[];
  /** The trees differ, and neither mirror nor archive can say how. */
  isUnknown: boolean;
}

/** Null when the trees are the same, or one run never came to its commit. */
async function diffCode(deps: Deps, a: DiffRun, b: DiffRun, patchBytesMax: number): Promise<CodeFound | null> {
  if (a.commit === null || b.commit === null) return null;
  if (a.commit === b.commit || (a.tree !== null && a.tree === b.tree)) return null;
  const side = (run: DiffRun) => ({
    projectId: run.projectId,
    commit: run.commit ?? '',
    archive: () => deps.store.get(run.sourceSha256 ?? ''),
  });
  try {
    const found = await deps.mirrors.diffCode({ before: side(a), after: side(b) }, patchBytesMax);
    const counts = await countingPaths(deps, a, b, found);
    return {
      files: found.files.map((file) => codeFile(file, counts)),
      patch: found.patch,
      isPatchCut: found.isPatchCut,
      notes: found.fromArchives.map(
        (commit) => `The mirror has lost ${commit.slice(0, 12)}; its stored archive was compared.`,
      ),
      isUnknown: false,
    };
  } catch (error) {
    if (!(error instanceof DomainError)) throw error;
    const note = `The code differs, and cannot be shown: ${error.message}`;
    return { files: [], patch: '', isPatchCut: false, notes: [note], isUnknown: true };
  }
}

const whats: Record<string, What> = { A: 'added', D: 'removed' };

function codeFile(
  { path, status, linesAdded, linesRemoved }: CodeDiff['files'][number],
  counts: Set<string>,
): CodeFileChange {
  return { path, what: whats[status] ?? 'changed', linesAdded, linesRemoved, counts: counts.has(path) };
}

/** The changed files that enter a stage's code digest in either run. */
async function countingPaths(deps: Deps, a: DiffRun, b: DiffRun, { files }: CodeDiff): Promise<Set<string>> {
  const paths = files.map(({ path }) => path);
  const found = await Promise.all([a, b].map((run) => digestedOf(deps, run, paths)));
  return new Set(found.flat());
}

async function digestedOf({ mirrors }: Deps, run: DiffRun, paths: readonly string[]): Promise<string[]> {
  const { config, commit, projectId, steps } = run;
  if (config === null) return [...paths];
  const ignore = await mirrors.readFile(projectId, commit ?? '', ignoreFile, ignoreBytesMax);
  const requirements = new Set(steps.flatMap(({ files }) => files ?? []));
  const scopes = config.stages.map((stage) => stageTree(stage, config, paths, compileGlob));
  const reached = [...new Set(scopes.flat())];
  const digested = digestedPaths(config, reached, ignore?.toString('utf8') ?? null, ignoreGlob);
  return digested.filter((path) => !requirements.has(path));
}

/** Files that count come first. */
function codeView({ files, patch, isPatchCut }: CodeFound): NonNullable<RunDiff['code']> {
  const ordered = files.toSorted((a, b) => Number(b.counts) - Number(a.counts));
  const shown = ordered.slice(0, codeFilesMax);
  return { files: shown, filesLeftOut: files.length - shown.length, patch, isPatchCut };
}

interface Locks {
  changes: Causes['packages'];
  /** Digests that the store does not have. */
  lost: string[];
}

/** Locks are read only where they differ. */
async function locksOf(
  { store }: Deps,
  { lockSha256: before }: DiffRun,
  { lockSha256: after }: DiffRun,
): Promise<Locks> {
  if (before === null || after === null || before === after) return { changes: [], lost: [] };
  const lost: string[] = [];
  const read = async (sha256: string): Promise<string | null> => {
    try {
      return (await readBlob(store, sha256)).toString('utf8');
    } catch (error) {
      if (!(error instanceof DomainError)) throw error;
      lost.push(sha256);
      return null;
    }
  };
  const [a, b] = [await read(before), await read(after)];
  const changes = a === null || b === null ? [] : packageChanges(a, b);
  return { changes: changes.map((change) => ({ ...change, what: whatOf(change.before, change.after) })), lost };
}

async function dataViews(
  { connection: { db } }: Deps,
  changes: readonly DataChange[],
  a: DiffRun,
  b: DiffRun,
  { profile }: DiffWish,
): Promise<DataChangeView[]> {
  const isAsked = profile && changes.length > 0;
  const [before, after] = isAsked ? await Promise.all([a, b].map((run) => readProfiles(db, run.id))) : [];
  const views: DataChangeView[] = [];
  for (const change of changes) {
    const sides = [datasetAt(a.data, change.name), datasetAt(b.data, change.name)] as const;
    const differing = sides[0] && sides[1] && (await differingFiles(db, sides[0], sides[1], datasetFilesMax));
    views.push({
      name: change.name,
      what: change.what,
      before: datumView(change.before),
      after: datumView(change.after),
      summary: dataText(change),
      sameRows: change.sameRows,
      columns: change.columns,
      profile: isAsked ? compareProfiles(before?.get(change.name), after?.get(change.name)) : null,
      files: differing && {
        differing: differing.differing,
        items: differing.items.map((pair) => ({ ...pair, what: whatOf(pair.before, pair.after) })),
      },
    });
  }
  return views;
}

function datumView(facts: DataFacts | null): DataChangeView['before'] {
  if (facts === null) return null;
  const { to, source, digest, asOf, rows, files, sizeBytes } = facts;
  return { to, source, digest, asOf, rows, files, sizeBytes };
}

function datasetAt(data: readonly DiffDatum[], name: string): DatasetAt | null {
  const datum = data.find((one) => one.name === name);
  return datum?.dataset == null || datum.version === null ? null : { dataset: datum.dataset, version: datum.version };
}

/** Per column of both that looks different; null when one side has no rows to look at. */
function compareProfiles(before: unknown, after: unknown): DataChangeView['profile'] {
  if (before === undefined || after === undefined) return null;
  const [old, now] = [before as Profile, after as Profile];
  return now.columns.flatMap((column) => {
    const same = old.columns.find(({ name }) => name === column.name);
    const statistics = same === undefined ? [] : compareValues(statisticsOf(same), statisticsOf(column));
    return statistics.length === 0 ? [] : [{ column: column.name, statistics }];
  });
}

function statisticsOf({
  name: _name,
  type: _type,
  ...statistics
}: ColumnProfile): Record<string, string | number | undefined> {
  return Object.fromEntries(Object.entries(statistics).map(([name, value]) => [name, value ?? undefined]));
}

function durationsOf(before: readonly DiffStep[], after: readonly DiffStep[]): RunDiff['durations'] {
  const names = new Set([...before, ...after].map(({ name }) => name));
  const time = (steps: readonly DiffStep[], name: string) => {
    const step = steps.find((one) => one.name === name);
    return step === undefined ? null : { status: step.status, ms: step.durationMs, reusedFrom: step.reusedFrom };
  };
  return [...names]
    .map((step) => ({ step, before: time(before, step), after: time(after, step) }))
    .filter((row) =>
      [row.before, row.after].some((side) => side !== null && (side.ms !== null || side.reusedFrom !== null)),
    );
}
