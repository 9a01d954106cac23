// A reproduction beside its original, layer by layer.
import { canonicalJson, type Json } from '#core/canonical.ts';
import type { GateReport } from '#core/gate.ts';
import type { Failure } from '#core/run.ts';
import { type Grade, type Layer, type LayerReport, layers, type VerdictReport } from '#core/verdict.ts';
import { type ArtifactRow, listArtifacts } from '#db/artifacts.ts';
import type { Database } from '#db/connect.ts';
import { type EnvironmentRow, getEnvironment } from '#db/environments.ts';
import { listMetrics } from '#db/metrics.ts';
import { gateReportOf } from '#db/models.ts';
import { listRunData } from '#db/run-data.ts';
import { type LoadedRun, loadRun } from '#db/run-facts.ts';
import { listRunSteps } from '#db/runs.ts';
import type { BlobStore } from '#storage/blob-store.ts';

export interface CompareDeps {
  db: Database;
  store: BlobStore;
}

const differencesMax = 50;

interface Side {
  run: LoadedRun['run'];
  stages: Array<{ name: string; status: string; failure: Failure | null }>;
  environment: EnvironmentRow | undefined;
  data: Map<string, string>;
  metrics: Map<string, string>;
  files: Map<string, string>;
  gate: GateReport | null;
}

/** Both runs are read as they stand; the reproduction's own record need not be closed yet. */
export async function compareRuns(
  deps: CompareDeps,
  originalRunId: string,
  reproductionRunId: string,
): Promise<VerdictReport> {
  const [before, after] = await Promise.all([read(deps, originalRunId), read(deps, reproductionRunId)]);
  const reports = layers.map((layer) => compareLayer(layer, before, after));
  const first = reports.find(({ result }) => result === 'different')?.layer ?? null;
  const isDifferent = first !== null;
  const grade = gradeOf(reports);
  return {
    verdict: isDifferent ? 'different' : 'identical',
    grade,
    sentence: isDifferent
      ? `${first} is the first that differs: ${reports.find(({ layer }) => layer === first)?.differences[0] ?? ''}`
      : 'Everything compared is equal, byte for byte.',
    firstDifference: first,
    layers: reports,
    notes: [],
  };
}

async function read({ db }: CompareDeps, runId: string): Promise<Side> {
  const { run } = await loadRun(db, runId);
  const [steps, environment, data, metrics, files] = await Promise.all([
    listRunSteps(db, runId),
    run.environmentKey === null ? undefined : getEnvironment(db, run.environmentKey),
    listRunData(db, runId),
    listMetrics(db, runId),
    listArtifacts(db, runId, { all: false }),
  ]);
  return {
    run,
    stages: steps.filter(({ kind }) => kind === 'stage'),
    environment,
    data: new Map(data.map(({ name, digest }) => [name, digest])),
    metrics: new Map(metrics.map(({ stage, key, last }) => [`${stage} ${key}`, String(last)])),
    files: new Map(files.map((file) => [`${file.step} ${file.path}`, contentOf(file)])),
    gate: gateReportOf(run.gateReport),
  };
}

function contentOf({ sha256, executable }: ArtifactRow): string {
  return executable ? `${sha256} executable` : sha256;
}

function compareLayer(layer: Layer, before: Side, after: Side): LayerReport {
  switch (layer) {
    case 'outcome':
      return compareMaps(layer, outcomeOf(before), outcomeOf(after));
    case 'code':
      return compareMaps(layer, of('tree', before.run.tree), of('tree', after.run.tree));
    case 'parameters':
      return compareMaps(layer, of('parameters', text(before.run.params)), of('parameters', text(after.run.params)));
    case 'seed':
      return compareMaps(layer, of('seed', before.run.seed), of('seed', after.run.seed));
    case 'data':
      return compareMaps(layer, before.data, after.data);
    case 'lock':
      return compareMaps(layer, of('lock', before.environment?.lockSha256), of('lock', after.environment?.lockSha256));
    case 'image':
      return compareMaps(layer, of('base image', before.environment?.base), of('base image', after.environment?.base));
    case 'metrics':
      return compareMaps(layer, before.metrics, after.metrics);
    case 'gate':
      return compareMaps(layer, of('gate', before.gate?.result), of('gate', after.gate?.result));
    case 'model':
      return compareMaps(layer, before.files, after.files);
    case 'hardware':
    case 'predictions':
      return { layer, result: 'absent', sentence: `${layer}: not compared`, differences: [] };
  }
}

/** How each stage that ran ended. */
function outcomeOf({ stages }: Side): Map<string, string> {
  const ended = stages.filter(({ status }) => ['succeeded', 'reused', 'failed'].includes(status));
  return new Map(
    ended.map(({ name, status, failure }) => [
      name,
      failure === null
        ? status === 'reused'
          ? 'succeeded'
          : status
        : `failed (${failure.class}, exit code ${failure.exitCode})`,
    ]),
  );
}

function of(name: string, value: string | number | null | undefined): Map<string, string> {
  return new Map(value === null || value === undefined ? [] : [[name, String(value)]]);
}

function text(value: unknown): string {
  return canonicalJson((value ?? null) as Json);
}

function compareMaps(layer: Layer, before: Map<string, string>, after: Map<string, string>): LayerReport {
  const names = [...new Set([...before.keys(), ...after.keys()])];
  if (names.length === 0)
    return { layer, result: 'absent', sentence: `${layer}: neither run has any`, differences: [] };
  const different = names.filter((name) => before.get(name) !== after.get(name));
  const differences = different
    .slice(0, differencesMax)
    .map((name) => `${name}: ${before.get(name) ?? 'absent'} before, ${after.get(name) ?? 'absent'} now`);
  if (different.length === 0) return { layer, result: 'equal', sentence: `${layer}: equal`, differences: [] };
  return {
    layer,
    result: 'different',
    sentence: `${layer}: ${different.length} of ${names.length} differ`,
    differences,
  };
}

function gradeOf(reports: readonly LayerReport[]): Grade {
  const differs = (...names: Layer[]) =>
    reports.some(({ layer, result }) => names.includes(layer) && result === 'different');
  if (differs('outcome', 'metrics', 'gate')) return 'G1';
  return differs('model') ? 'G2' : 'G4';
}
