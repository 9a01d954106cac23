// The list that pins a run: everything it was made from and everything it made, as one blob; and the signed statement
// about it.
import { canonicalJson, type Json } from '#core/canonical.ts';
import { listArtifacts } from '#db/artifacts.ts';
import { lockLiveBlobs } from '#db/blobs.ts';
import { getInitialCheckpoint, listRestored } from '#db/checkpoints.ts';
import type { Database } from '#db/connect.ts';
import { listResultAttempts } from '#db/attempts.ts';
import { getEnvironment } from '#db/environments.ts';
import { listMetrics } from '#db/metrics.ts';
import { listRunData } from '#db/run-data.ts';
import { loadRun, setProof } from '#db/run-facts.ts';
import { listSteps } from '#db/steps.ts';
import { sealEnvelope, type Signer } from '#proof/envelope.ts';
import { statementMediaType } from '#proof/statement.ts';
import type { BlobStore } from '#storage/blob-store.ts';
import { keepBlob } from '#storage/keep.ts';
import { composeStatement } from './statement.ts';
import { asStep, type ExecutionInput } from './step.ts';

export interface PersistDeps {
  db: Database;
  store: BlobStore;
  signer: Signer;
  publicUrl: string;
}

/** Idempotent: equal facts give the same bytes and so the same blobs. */
export async function persist(deps: PersistDeps, input: ExecutionInput): Promise<void> {
  await asStep(deps.db, { ...input, step: 'persist' }, async () => {
    const manifest = await composeManifest(deps.db, input);
    const { sha256: manifestSha256 } = await keepBlob(deps.db, deps.store, Buffer.from(`${canonicalJson(manifest)}\n`));
    const statement = await composeStatement(deps, input, manifestSha256);
    const envelope = sealEnvelope(deps.signer, statementMediaType, statement);
    const { sha256: statementSha256 } = await keepBlob(deps.db, deps.store, envelope);
    await deps.db.transaction(async (tx) => {
      await lockLiveBlobs(tx, [manifestSha256, statementSha256].toSorted());
      await setProof(tx, input.runId, { manifestSha256, statementSha256 });
    });
    const artifacts = (manifest.artifacts as Json[]).length;
    return { result: undefined, facts: { manifestSha256, artifacts, signedBy: deps.signer.keyId } };
  });
}

async function composeManifest(db: Database, input: ExecutionInput): Promise<Record<string, Json>> {
  const { run, project } = await loadRun(db, input.runId);
  const [environment, steps, attempts, data, artifacts, metrics, initial, restored] = await Promise.all([
    run.environmentKey === null ? undefined : getEnvironment(db, run.environmentKey),
    listSteps(db, run.id, input.execution),
    listResultAttempts(db, run.id, input.execution),
    listRunData(db, run.id),
    listArtifacts(db, run.id, { all: false }),
    listMetrics(db, run.id),
    getInitialCheckpoint(db, run.id),
    listRestored(db, run.id, input.execution),
  ]);
  return json({
    manifest: 1,
    run: { id: run.id, project: project.name, number: run.number, experiment: run.experiment, owner: run.owner },
    code: {
      commit: run.commit,
      tree: run.tree,
      branch: run.branch,
      dirty: run.dirty,
      sourceSha256: run.sourceSha256,
      patchSha256: run.patchSha256,
    },
    params: run.params,
    seed: run.seed,
    asOf: run.asOf,
    environment: environment && {
      key: environment.environmentKey,
      lockSha256: environment.lockSha256,
      python: environment.python,
      platform: environment.platform,
      base: environment.base,
      image: steps.find(({ name }) => name === 'build-environment')?.facts?.image ?? null,
    },
    data: data.map(({ name, to, asOf, digest, datasetName, datasetVersion, facts }) => ({
      name,
      to,
      asOf,
      digest,
      dataset: datasetName,
      version: datasetVersion,
      facts,
    })),
    initFrom: initial && {
      run: initial.runId,
      label: initial.label,
      step: initial.step,
      set: initial.number,
      digest: initial.digest,
    },
    config: run.config,
    steps: steps
      .filter((step) => step.kind === 'stage')
      .map(({ name, stepKey, fence, ingredients }) => {
        const made = attempts.find(({ step }) => step === name);
        const { variables, determinism } = made?.facts ?? {};
        return {
          name,
          stepKey,
          attempt: fence,
          restoredFrom: restored.get(name) ?? null,
          ingredients,
          hardware: made?.hardware,
          variables,
          determinism,
        };
      }),
    artifacts: artifacts.map(({ step, path, sha256, sizeBytes, mediaType, executable }) => ({
      step,
      path,
      sha256,
      sizeBytes,
      mediaType,
      executable,
    })),
    metrics: metrics.map(({ stage, key, last, min, max, count, lastStep }) => ({
      stage,
      key,
      last: String(last),
      min: String(min),
      max: String(max),
      count,
      lastStep,
    })),
  });
}

/** Dates and undefined fields become what JSON has for them. */
function json(value: unknown): Record<string, Json> {
  return JSON.parse(JSON.stringify(value)) as Record<string, Json>;
}
