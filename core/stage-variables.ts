// Every variable Assay sets for a stage, with the aliases that SageMaker, Vertex and MLflow scripts already read.
import { deterministicVariables } from './determinism.ts';
import type { Params } from './project.ts';

/** Absolute paths on the machine where the stage runs. */
export interface StageDirectories {
  data: string;
  input: string;
  output: string;
  model: string;
  checkpoint: string;
  tensorboard: string;
  home: string;
  tmp: string;
}

/** An entry under `data:`; `path` is absolute. */
export interface StageData {
  name: string;
  path: string;
  isFolder: boolean;
}

export interface StageVariableFacts {
  runId: string;
  /** `digits/42`. */
  runName: string;
  project: string;
  experiment: string;
  stage: string;
  /** Counts from 1. */
  attempt: number;
  directories: StageDirectories;
  /** JSON file with the resolved parameters. */
  paramsFile: string;
  params: Params;
  seed: number;
  /** Device ids as CUDA_VISIBLE_DEVICES spells them; empty hides every GPU. */
  gpus: readonly string[];
  /** Threads the numeric libraries may start. */
  threads: number;
  commit: string;
  /** Null when the code has none. */
  branch: string | null;
  /** What load-data put in place. */
  data: readonly StageData[];
  /** Where a person looks at the run; null when there is no such page. */
  runUrl: string | null;
  /** Assay's own API for the stage; null where the network does not reach it. */
  api: { url: string; token: string } | null;
  /** MLflow's protocol; null where it is not served. */
  mlflow: { trackingUri: string; token: string; runId: string } | null;
  deterministic: boolean;
}

export function stageVariables(facts: StageVariableFacts): Record<string, string> {
  return {
    ...assayVariables(facts),
    ...pythonVariables(facts),
    ...threadVariables(facts.threads),
    ...aliases(facts),
    ...dataVariables(facts.data),
    ...(facts.api && { ASSAY_API_URL: facts.api.url, ASSAY_TOKEN: facts.api.token }),
    ...(facts.mlflow && mlflowVariables(facts.mlflow)),
    ...(facts.deterministic && deterministicVariables),
  };
}

function assayVariables(facts: StageVariableFacts): Record<string, string> {
  const { directories } = facts;
  return {
    ASSAY_RUN_ID: facts.runId,
    ASSAY_RUN: facts.runName,
    ASSAY_PROJECT: facts.project,
    ASSAY_EXPERIMENT: facts.experiment,
    ASSAY_STAGE: facts.stage,
    ASSAY_ATTEMPT: String(facts.attempt),
    ASSAY_PARAMS: facts.paramsFile,
    ASSAY_DATA_DIR: directories.data,
    ASSAY_INPUT_DIR: directories.input,
    ASSAY_OUTPUT_DIR: directories.output,
    ASSAY_MODEL_DIR: directories.model,
    ASSAY_CHECKPOINT_DIR: directories.checkpoint,
    ASSAY_TENSORBOARD_DIR: directories.tensorboard,
    ASSAY_SEED: String(facts.seed),
    ASSAY_GPUS: String(facts.gpus.length),
    GIT_COMMIT: facts.commit,
    ...(facts.branch === null ? {} : { GIT_BRANCH: facts.branch }),
    ...(facts.runUrl === null ? {} : { ASSAY_RUN_URL: facts.runUrl }),
    HOME: directories.home,
    TMPDIR: directories.tmp,
    XDG_CACHE_HOME: `${directories.home}/.cache`,
    MPLCONFIGDIR: `${directories.home}/.cache/matplotlib`,
    MPLBACKEND: 'Agg',
    CUDA_VISIBLE_DEVICES: facts.gpus.join(','),
  };
}

// Bytecode would otherwise be written into the stage's own copy of the tree.
function pythonVariables(facts: StageVariableFacts): Record<string, string> {
  return {
    PYTHONUNBUFFERED: '1',
    PYTHONDONTWRITEBYTECODE: '1',
    PYTHONIOENCODING: 'utf-8',
    PYTHONHASHSEED: String(facts.seed),
  };
}

const threadLimits = [
  'OMP_NUM_THREADS',
  'MKL_NUM_THREADS',
  'OPENBLAS_NUM_THREADS',
  'BLIS_NUM_THREADS',
  'NUMEXPR_NUM_THREADS',
  'VECLIB_MAXIMUM_THREADS',
  'RAYON_NUM_THREADS',
  'POLARS_MAX_THREADS',
  'NUMBA_NUM_THREADS',
  'TF_NUM_INTRAOP_THREADS',
  'TF_NUM_INTEROP_THREADS',
];

function threadVariables(threads: number): Record<string, string> {
  return Object.fromEntries(threadLimits.map((name) => [name, String(threads)]));
}

const seedNames = ['ASSAY_SEED', 'PYTHONHASHSEED'];

/** Of all variables of a stage those that seed it and bound its threads, for the record. */
export function numericVariables(variables: Readonly<Record<string, string>>): Record<string, string> {
  const names = [...seedNames, ...threadLimits, ...Object.keys(deterministicVariables)];
  return Object.fromEntries(names.flatMap((name) => (variables[name] === undefined ? [] : [[name, variables[name]]])));
}

// https://github.com/aws/sagemaker-training-toolkit (ENVIRONMENT_VARIABLES.md) and Vertex AI's training containers.
function aliases(facts: StageVariableFacts): Record<string, string> {
  const { directories } = facts;
  return {
    SM_MODEL_DIR: directories.model,
    SM_OUTPUT_DIR: directories.output,
    SM_OUTPUT_DATA_DIR: directories.output,
    SM_INPUT_DIR: directories.input,
    SM_HPS: JSON.stringify(facts.params),
    SM_NUM_GPUS: String(facts.gpus.length),
    SM_NUM_CPUS: String(facts.threads),
    SM_CHANNELS: JSON.stringify(facts.data.map((item) => item.name).sort()),
    SM_CURRENT_HOST: 'algo-1',
    SM_HOSTS: '["algo-1"]',
    AIP_MODEL_DIR: directories.model,
    AIP_CHECKPOINT_DIR: directories.checkpoint,
    AIP_TENSORBOARD_LOG_DIR: directories.tensorboard,
    TENSORBOARD_LOGDIR: directories.tensorboard,
  };
}

// A SageMaker channel is always a folder, even when it holds one file.
function dataVariables(data: readonly StageData[]): Record<string, string> {
  return Object.fromEntries(
    data.flatMap(({ name, path, isFolder }) => {
      const variable = name.toUpperCase().replaceAll(/[^A-Z0-9]/g, '_');
      return [
        [`ASSAY_DATA_${variable}`, path],
        [`SM_CHANNEL_${variable}`, isFolder ? path : path.slice(0, path.lastIndexOf('/'))],
      ];
    }),
  );
}

function mlflowVariables(mlflow: { trackingUri: string; token: string; runId: string }): Record<string, string> {
  return {
    MLFLOW_TRACKING_URI: mlflow.trackingUri,
    MLFLOW_TRACKING_TOKEN: mlflow.token,
    MLFLOW_RUN_ID: mlflow.runId,
  };
}
