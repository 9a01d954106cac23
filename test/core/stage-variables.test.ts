import { describe, expect, it } from 'vitest';
import { stageVariables, type StageVariableFacts } from '#core/stage-variables.ts';

const facts: StageVariableFacts = {
  runId: '0190',
  runName: 'digits/42',
  project: 'digits',
  experiment: 'default',
  stage: 'train',
  attempt: 2,
  directories: {
    data: '/s/work/data',
    input: '/s/input',
    output: '/s/output',
    model: '/s/model',
    checkpoint: '/s/checkpoints',
    tensorboard: '/s/tb',
    home: '/s/home',
    tmp: '/s/tmp',
  },
  paramsFile: '/s/params.json',
  params: { lr: 0.1 },
  seed: 42,
  gpus: ['0', '1'],
  threads: 4,
  commit: 'abc',
  branch: null,
  data: [
    { name: 'train-set', path: '/s/work/data/train.csv', isFolder: false },
    { name: 'pets', path: '/s/work/data/pets', isFolder: true },
  ],
  runUrl: null,
  api: null,
  mlflow: null,
  deterministic: false,
};

describe("a stage's variables", () => {
  it('have every name that the contract promises', () => {
    expect(stageVariables(facts)).toMatchObject({
      ASSAY_RUN_ID: '0190',
      ASSAY_RUN: 'digits/42',
      ASSAY_STAGE: 'train',
      ASSAY_ATTEMPT: '2',
      ASSAY_PARAMS: '/s/params.json',
      ASSAY_DATA_DIR: '/s/work/data',
      ASSAY_INPUT_DIR: '/s/input',
      ASSAY_OUTPUT_DIR: '/s/output',
      ASSAY_MODEL_DIR: '/s/model',
      ASSAY_CHECKPOINT_DIR: '/s/checkpoints',
      ASSAY_TENSORBOARD_DIR: '/s/tb',
      ASSAY_SEED: '42',
      ASSAY_GPUS: '2',
      PYTHONHASHSEED: '42',
      PYTHONUNBUFFERED: '1',
      CUDA_VISIBLE_DEVICES: '0,1',
      OMP_NUM_THREADS: '4',
      GIT_COMMIT: 'abc',
    });
  });

  it('have the aliases that SageMaker and Vertex scripts read', () => {
    expect(stageVariables(facts)).toMatchObject({
      SM_MODEL_DIR: '/s/model',
      SM_HPS: '{"lr":0.1}',
      SM_NUM_GPUS: '2',
      SM_CHANNELS: '["pets","train-set"]',
      SM_CHANNEL_TRAIN_SET: '/s/work/data',
      SM_CHANNEL_PETS: '/s/work/data/pets',
      ASSAY_DATA_TRAIN_SET: '/s/work/data/train.csv',
      AIP_MODEL_DIR: '/s/model',
      AIP_TENSORBOARD_LOG_DIR: '/s/tb',
    });
  });

  it('hide every GPU when there is none', () => {
    expect(stageVariables({ ...facts, gpus: [] })).toMatchObject({ CUDA_VISIBLE_DEVICES: '', ASSAY_GPUS: '0' });
  });

  it('speak of services only where they are reachable', () => {
    const without = Object.keys(stageVariables(facts));
    expect(without.filter((name) => /^MLFLOW|API_URL|TOKEN|RUN_URL|BRANCH/.test(name))).toEqual([]);
    const full = stageVariables({
      ...facts,
      branch: 'main',
      runUrl: 'http://h/r',
      api: { url: 'http://h', token: 't' },
      mlflow: { trackingUri: 'http://h', token: 't', runId: 'r' },
    });
    expect(full).toMatchObject({
      GIT_BRANCH: 'main',
      ASSAY_RUN_URL: 'http://h/r',
      ASSAY_API_URL: 'http://h',
      ASSAY_TOKEN: 't',
      MLFLOW_TRACKING_URI: 'http://h',
      MLFLOW_TRACKING_TOKEN: 't',
      MLFLOW_RUN_ID: 'r',
    });
  });

  it('ask for deterministic algorithms only on request', () => {
    expect(stageVariables(facts)).not.toHaveProperty('CUBLAS_WORKSPACE_CONFIG');
    expect(stageVariables({ ...facts, deterministic: true })).toHaveProperty('CUBLAS_WORKSPACE_CONFIG');
  });
});
