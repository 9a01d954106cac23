// What can change a step's result, spelled out. The caller hashes the text: stepKey = sha256(stepKeyText(…)).
import { canonicalJson, type Json } from './canonical.ts';
import type { Accelerators, DataFormat, Network, Params, ParamStyle } from './project.ts';

/** Raised when a step starts to produce something else from the same inputs; older results are then never reused. */
const stepVersions = { 'build-environment': 1, 'load-data': 1, stage: 2 } as const;

export type KeyedStep = keyof typeof stepVersions;

/** A file of a needed stage. `mode` is '100644', '100755' or '120000', as git writes it. */
export type UpstreamFile = {
  stage: string;
  path: string;
  mode: string;
  sha256: string;
};

/** Data as a stage finds it: the digest of the bytes at `to`, not of how they were found. */
export type DataIngredient = {
  name: string;
  to: string;
  digest: string;
};

export type RunnerIngredient =
  | { kind: 'process'; platform: string; libc: string; pythonBuild: string }
  | { kind: 'docker'; imageDigest: string };

export type StageIngredients = {
  /** Results are shared within a project only. */
  project: string;
  stage: string;
  /** Digest over paths, modes, symlinks and contents of the stage's part of the tree (see code-scope.ts). */
  codeDigest: string;
  command: string | readonly string[];
  params: Params;
  paramStyle: ParamStyle;
  environmentKey: string | null;
  upstream: readonly UpstreamFile[];
  data: readonly DataIngredient[];
  /** Digest of the checkpoints of another run that the stage starts from, when the run was submitted with some. */
  initFrom: string | null;
  seed: number;
  /** The project's and the stage's variables, not those Assay sets. */
  env: Readonly<Record<string, string>>;
  /** Never the value. */
  secrets: readonly { name: string; version: number }[];
  cpus: number | null;
  /** What OMP_NUM_THREADS and its relatives are set to, unless `env` gives one another value. */
  threads: number;
  accelerators: Accelerators | null;
  runner: RunnerIngredient;
  network: Network;
  outputs: readonly string[];
  deterministic: boolean;
};

export type EnvironmentIngredients = {
  lockSha256: string | null;
  python: string;
  /** Digest of the base image; null for the process runner. */
  base: string | null;
  platform: string;
};

export type LoadDataIngredients = {
  /** One per name under `data:`. */
  sources: readonly (QueryIngredient | DatasetIngredient)[];
};

export type QueryIngredient = {
  kind: 'query';
  name: string;
  to: string;
  format: DataFormat;
  query: string;
  params: Params;
  /** Per table, in append order. */
  segments: readonly { table: string; sha256: readonly string[] }[];
  engineVersion: string;
  /** Only when the query names $as_of; else null, because the segments say it all. */
  asOf: string | null;
};

export type DatasetIngredient = {
  kind: 'dataset';
  name: string;
  to: string;
  dataset: string;
  /** Digest of the version's (path, size, sha256) list. */
  digest: string;
};

/** A set has no order: lists whose order cannot matter are sorted before they enter the key. */
export function stageInputs(ingredients: StageIngredients): Json {
  return {
    ...ingredients,
    upstream: sortedBy(ingredients.upstream, (file) => [file.stage, file.path]),
    data: sortedBy(ingredients.data, (item) => [item.name]),
    secrets: sortedBy(ingredients.secrets, (secret) => [secret.name]),
    outputs: sortedBy(ingredients.outputs, (output) => [output]),
    accelerators: ingredients.accelerators && { ...ingredients.accelerators },
  };
}

export function environmentInputs(ingredients: EnvironmentIngredients): Json {
  return { ...ingredients };
}

export function loadDataInputs(ingredients: LoadDataIngredients): Json {
  const sources = sortedBy(ingredients.sources, (source) => [source.name]).map((source) =>
    source.kind === 'query' ? { ...source, segments: sortedBy(source.segments, (item) => [item.table]) } : source,
  );
  return { sources };
}

/** The canonical text of {step, version, inputs}; equal text, equal key, equal result. */
export function stepKeyText(step: KeyedStep, inputs: Json): string {
  return canonicalJson({ step, version: stepVersions[step], inputs });
}

function sortedBy<T>(items: readonly T[], key: (item: T) => string[]): T[] {
  return items
    .map((item) => ({ item, key: canonicalJson(key(item)) }))
    .sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
    .map(({ item }) => item);
}
