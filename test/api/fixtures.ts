// Rows as the activities write them, for tests of what the API shows.
import { createHash } from 'node:crypto';
import type { ProjectConfig } from '#core/project.ts';
import type { GateResult, RunStatus, StepStatus } from '#core/run.ts';
import { newId } from '#db/ids.ts';
import { createVersions } from '#db/models.ts';
import { executions, runs } from '#db/schema/runs.ts';
import { artifacts, attempts, logChunks, metrics, steps } from '#db/schema/steps.ts';
import { keepBlob } from '#storage/keep.ts';
import { projectConfig } from './project-config.ts';
import type { TestApi } from './server.ts';

export { projectConfig } from './project-config.ts';

export const commit = 'a'.repeat(40);

let number = 1000;

export interface RunWish {
  status?: RunStatus;
  config?: ProjectConfig;
  gateResult?: GateResult;
  dirty?: boolean;
  metrics?: Record<string, number>;
  values?: Partial<typeof runs.$inferInsert>;
}

/** A run with one stage `train` whose first attempt succeeded, and its metrics. */
export async function insertRun(api: TestApi, projectId: string, wish: RunWish = {}): Promise<string> {
  const id = newId();
  await api.db.insert(runs).values({
    id,
    projectId,
    number: number++,
    owner: 'ada@example.org',
    ref: 'main',
    commit,
    asOf: '2026-01-01T00:00:00Z',
    overrides: {},
    status: wish.status ?? 'succeeded',
    config: wish.config ?? projectConfig(),
    gateResult: wish.gateResult ?? 'passed',
    gateReport: { result: wish.gateResult ?? 'passed', rules: [], champion: null },
    dirty: wish.dirty ?? false,
    ...wish.values,
  });
  const isOpen = wish.status === 'running' || wish.status === 'needs-attention';
  await api.db.insert(executions).values({
    runId: id,
    n: 1,
    status: wish.status ?? 'succeeded',
    dispatch: wish.status === 'queued' ? 'queued' : isOpen ? 'started' : 'closed',
  });
  await insertStep(api, id, 'train', isOpen ? 'running' : 'succeeded');
  for (const [key, value] of Object.entries(wish.metrics ?? {})) await insertMetric(api, id, key, value);
  return id;
}

export async function insertStep(api: TestApi, runId: string, name: string, status: StepStatus): Promise<void> {
  const fence = status === 'succeeded' ? 1 : null;
  await api.db.insert(steps).values({ runId, execution: 1, name, kind: 'stage', position: 3, status, fence });
  await insertAttempt(api, runId, name, 1, status === 'running' ? 'running' : 'succeeded');
}

export async function insertAttempt(
  api: TestApi,
  runId: string,
  step: string,
  fence: number,
  status: 'running' | 'succeeded' | 'failed' | 'lost',
  tokenHash: string | null = null,
): Promise<void> {
  await api.db.insert(attempts).values({
    runId,
    step,
    fence,
    execution: 1,
    nodeId: 'node-1',
    pool: 'cpu',
    status,
    launch: `${runId}-${step}-${fence}`,
    leaseExpiresAt: new Date(Date.now() + 60_000),
    tokenHash,
    startedAt: new Date(),
    hardware: { cpuModel: 'AMD EPYC', logicalCores: 16, cpuFlags: ['avx2'], memoryBytes: 64 * 2 ** 30, gpus: [] },
  });
}

export async function insertMetric(api: TestApi, runId: string, key: string, value: number, fence = 1): Promise<void> {
  const text = String(value);
  await api.db
    .insert(metrics)
    .values({ runId, step: 'train', fence, key, last: text, min: text, max: text, count: 1, source: 'metrics.json' });
}

export async function insertArtifact(
  api: TestApi,
  runId: string,
  path: string,
  bytes: Buffer,
  options: { mediaType?: string; fence?: number } = {},
): Promise<string> {
  const { sha256, sizeBytes } = await keepBlob(api.db, api.deps.store, bytes);
  await api.db.insert(artifacts).values({
    runId,
    step: 'train',
    fence: options.fence ?? 1,
    path,
    sha256,
    sizeBytes,
    mediaType: options.mediaType ?? 'application/octet-stream',
  });
  return sha256;
}

export async function insertLog(
  api: TestApi,
  runId: string,
  text: string | Buffer,
  options: { step?: string; fence?: number; offsetBytes?: number; stored?: boolean } = {},
): Promise<void> {
  const bytes = Buffer.from(text);
  const stored = options.stored === true ? await keepBlob(api.db, api.deps.store, bytes) : null;
  await api.db.insert(logChunks).values({
    runId,
    step: options.step ?? 'train',
    fence: options.fence ?? 1,
    offsetBytes: options.offsetBytes ?? 0,
    sizeBytes: bytes.length,
    inline: stored === null ? bytes : null,
    sha256: stored?.sha256 ?? null,
  });
}

export async function insertVersion(
  api: TestApi,
  projectId: string,
  wish: RunWish = {},
): Promise<{ runId: string; version: number }> {
  const runId = await insertRun(api, projectId, wish);
  const [model] = (wish.config ?? projectConfig()).models;
  await insertArtifact(api, runId, `${model?.path ?? ''}/weights`.replace('//', '/'), Buffer.from(runId));
  const [created] = await api.db.transaction((tx) => createVersions(tx, runId));
  if (created === undefined) throw new Error('the run has no model');
  return { runId, version: created.version };
}

export function sha256(bytes: Buffer | string): string {
  return createHash('sha256').update(bytes).digest('hex');
}
