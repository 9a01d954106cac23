// What a project asks for, after assay.yaml (or zero configuration) has been read. Pure data, stored with the run.

export type ParamStyle = 'json' | 'argv' | 'env' | 'hydra';
export type Network = 'open' | 'platform' | 'none';
export type Goal = 'max' | 'min';
export type MetricUse = 'last' | 'best' | 'min' | 'max';
export type DataFormat = 'parquet' | 'csv' | 'jsonl';

export interface Accelerators {
  /** Lower case, for example `h100`; `gpu` asks for any. */
  type: string;
  count: number;
}

export interface Resources {
  accelerators: Accelerators | null;
  /** CPU cores; null leaves the node's default. */
  cpus: number | null;
  /** GiB; null means no limit. */
  memoryGib: number | null;
}

export type DataSource =
  | { kind: 'query'; name: string; query: string; to: string; format: DataFormat }
  | { kind: 'dataset'; name: string; dataset: string; to: string };

export interface Stage {
  name: string;
  /** A string is run by /bin/sh; a list is an argument vector. */
  command: string | string[];
  needs: string[];
  resources: Resources;
  pool: string | null;
  timeoutMs: number;
  graceMs: number;
  /** Further attempts after the stage itself failed. */
  retries: number;
  /** Paths relative to the working directory; a trailing slash names a folder. */
  outputs: string[];
  /** Globs this stage's tree is narrowed to; null gives the whole tree. */
  code: string[] | null;
  /** Parameter names this stage's parameters are narrowed to; null gives all. */
  params: string[] | null;
  env: Record<string, string>;
  network: Network | null;
  cache: boolean;
  deterministic: boolean;
}

export interface MetricDeclaration {
  goal: Goal | null;
  /** Stage whose value counts; null takes the last stage that reported the metric. */
  from: string | null;
  use: MetricUse;
  /** Absolute difference that two runs may show and still count as equivalent. */
  tolerance: number | null;
}

export interface ProjectConfig {
  project: string;
  /** Where this came from: the file, or the rule of zero configuration that chose the command. */
  origin: string;
  python: string | null;
  /** Explicit requirement file; null detects one. */
  requirements: string | null;
  image: string | null;
  dockerfile: string | null;
  params: { file: string | null; style: ParamStyle };
  seed: number | null;
  env: Record<string, string>;
  secrets: string[];
  network: Network;
  data: DataSource[];
  /** Topologically ordered. */
  stages: Stage[];
  model: { name: string; path: string } | null;
  metrics: { files: string[]; declare: Record<string, MetricDeclaration> };
  gate: string[];
  promote: 'by-hand' | 'when-passed';
  triggers: { push: string[]; schedule: string | null };
  verify: { predictions: string | null; key: string | null; ignore: string[] };
  /** Keys this server accepts but does not act on yet; lint and submit say so. */
  notYet: string[];
}
