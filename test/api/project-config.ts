// What most tests need of a project's configuration; free of servers, so that unit tests may use it too.
import type { ProjectConfig, Stage } from '#core/project.ts';

export function projectConfig(changes: Partial<ProjectConfig> = {}): ProjectConfig {
  return {
    project: 'digits',
    origin: 'assay.yaml',
    python: null,
    requirements: null,
    image: null,
    dockerfile: null,
    params: { file: null, style: 'json', defaults: null },
    seed: null,
    env: {},
    secrets: [],
    secretFiles: [],
    network: 'open',
    data: [],
    stages: [],
    models: [{ name: 'digits', path: 'model/' }],
    metrics: { files: [], declare: {} },
    gate: [],
    promote: 'by-hand',
    triggers: { push: [], paths: [], schedule: null },
    verify: { predictions: null, key: null, ignore: [] },
    notYet: [],
    ...changes,
  };
}

export function stage(changes: Partial<Stage> = {}): Stage {
  return {
    name: 'train',
    command: 'python train.py',
    needs: [],
    resources: { accelerators: null, cpus: 2, memoryGib: null, nodes: 1 },
    pool: null,
    timeoutMs: 1000,
    graceMs: 1000,
    retries: 0,
    outputs: ['model/'],
    checkpoints: null,
    code: null,
    params: null,
    env: {},
    secrets: [],
    network: 'open',
    cache: true,
    deterministic: false,
    ...changes,
  };
}
