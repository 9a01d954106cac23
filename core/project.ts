// What a project asks for, after assay.yaml (or zero configuration) has been read. Pure data, stored with the run.
import type { ScheduleDeclaration } from './schedule.ts';

/**
 * How a stage gets its parameters: `json` rewrites the parameter file (JSON or YAML by its ending), `argv` appends
 * `--lr 0.1`, `env` sets LR, `hydra` appends `lr=0.1`, `template` fills `{lr}` in the command as MLproject files do.
 */
export type ParamStyle = 'json' | 'argv' | 'env' | 'hydra' | 'template';
/** Every value is JSON; the top level is a map of names. */
export type Params = { [name: string]: ParamValue };
export type ParamValue = null | boolean | number | string | ParamValue[] | { [name: string]: ParamValue };

export interface ParamsDeclaration {
  /** JSON or YAML file of the commit that declares the names and defaults; null when there is none. */
  file: string | null;
  style: ParamStyle;
  /** Declared in the project file itself, below what `file` declares; null when it declares none. */
  defaults: Params | null;
}

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
  /** More than 1 is reserved: accepted, refused at launch. */
  nodes: number;
}

/** `query` is the path of a .sql file in the repository; `to` has no trailing slash. */
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
  /** Paths or globs relative to the working directory; a trailing slash names a folder; empty takes all that changed. */
  outputs: string[];
  /** The checkpoint directory, relative to the working directory; null is one outside of it. */
  checkpoints: string | null;
  /** Globs this stage's tree is narrowed to; null gives the whole tree. */
  code: string[] | null;
  /** Parameter names this stage's parameters are narrowed to; null gives all. */
  params: string[] | null;
  /** On top of the project's. */
  env: Record<string, string>;
  /** Names of the secrets this stage gets, the project's included. */
  secrets: string[];
  network: Network;
  /** False: the result is never reused. */
  cache: boolean;
  /** True: libraries are asked for deterministic algorithms through their variables. */
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

export interface ModelDeclaration {
  name: string;
  /** File, or folder with a trailing slash, relative to the working directory. */
  path: string;
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
  params: ParamsDeclaration;
  seed: number | null;
  env: Record<string, string>;
  /** Every secret any stage gets. */
  secrets: string[];
  /** Those of `secrets` that are given as files: the variable then holds the file's path. */
  secretFiles: string[];
  network: Network;
  data: DataSource[];
  /** Topologically ordered. */
  stages: Stage[];
  /** `champion` in the gate means the champion of the first. */
  models: ModelDeclaration[];
  /** With no `files`, metrics files are found by their usual names. */
  metrics: { files: string[]; declare: Record<string, MetricDeclaration> };
  gate: string[];
  promote: 'by-hand' | 'when-passed';
  /** Branches or globs; `paths` of which one must have changed, empty for any; when it recurs. */
  triggers: { push: string[]; paths: string[]; schedule: ScheduleDeclaration | null };
  verify: { predictions: string | null; key: string | null; ignore: string[] };
  /** Keys this server accepts but does not act on yet; lint and submit say so. */
  notYet: string[];
}
