// What the platform signs about a run, from the rows that remember it.
import { createHash } from 'node:crypto';
import type { Json } from '#core/canonical.ts';
import { listArtifacts, listArtifactsBelow } from '#db/artifacts.ts';
import type { Database } from '#db/connect.ts';
import { type EnvironmentRow, getEnvironment } from '#db/environments.ts';
import { listLoggedAttempts } from '#db/logs.ts';
import { listRunData, type RunData } from '#db/run-data.ts';
import { type LoadedRun, loadRun } from '#db/run-facts.ts';
import { findSnapshot } from '#db/snapshots.ts';
import {
  artifactFile,
  bundleFiles,
  datasetListFile,
  logFile,
  queryFile,
  sha256Of,
  snapshotFile,
} from '#proof/bundle-files.ts';
import { type Descriptor, encodeStatement, type Provenance } from '#proof/statement.ts';
import type { BlobStore } from '#storage/blob-store.ts';
import { readLog } from '#storage/log-bytes.ts';
import type { ExecutionInput } from './step.ts';

export interface StatementDeps {
  db: Database;
  store: BlobStore;
  publicUrl: string;
}

/** Times come from rows alone, so that repeating it gives the same bytes. */
export async function composeStatement(
  deps: StatementDeps,
  input: ExecutionInput,
  manifestSha256: string,
): Promise<Buffer> {
  const { db } = deps;
  const { run, project } = await loadRun(db, input.runId);
  const environment = run.environmentKey === null ? undefined : await getEnvironment(db, run.environmentKey);
  const manifest = { name: bundleFiles.manifest, digest: { sha256: manifestSha256 }, mediaType: 'application/json' };
  const subject = await subjectsOf(db, run);
  return encodeStatement({
    subject: subject.length === 0 ? [manifest] : subject,
    externalParameters: external({ run, project }),
    internalParameters: internal({ run, project }, input, environment),
    resolvedDependencies: [...codeOf(run), ...environmentOf(environment), ...(await dataOf(db, run.id))],
    builderId: deps.publicUrl,
    invocationId: `${run.id}.${input.execution}`,
    startedOn: run.startedAt?.toISOString() ?? null,
    byproducts: [manifest, ...(await logsOf(deps, run.id))],
  });
}

type Run = LoadedRun['run'];

/** The files of the models; all files of a run that has none. */
async function subjectsOf(db: Database, run: Run): Promise<Provenance['subject']> {
  const models = run.config?.models ?? [];
  const ofModels = (await Promise.all(models.map(({ path }) => listArtifactsBelow(db, run.id, path)))).flat();
  const files = ofModels.length > 0 ? ofModels : await listArtifacts(db, run.id, { all: false });
  const named = files.map(({ step, path, sha256 }) => [artifactFile(step, path), sha256] as const);
  return [...new Map(named)].map(([name, sha256]) => ({ name, digest: { sha256 } }));
}

function external({ run, project }: LoadedRun): Record<string, Json> {
  return json({
    project: project.name,
    commit: run.commit,
    params: run.params,
    seed: run.seed,
    asOf: run.asOf,
    command: run.command ?? undefined,
    reproduces: run.reproduces ?? undefined,
  });
}

function internal(
  { run, project }: LoadedRun,
  { execution }: ExecutionInput,
  environment: EnvironmentRow | undefined,
): Record<string, Json> {
  return json({
    run: run.id,
    label: `${project.name}/${run.number}`,
    execution,
    environmentKey: run.environmentKey,
    python: environment?.python,
    platform: environment?.platform,
  });
}

function codeOf({ commit, tree, sourceSha256, patchSha256 }: Run): Descriptor[] {
  const git = { ...(commit === null ? {} : { gitCommit: commit }), ...(tree === null ? {} : { gitTree: tree }) };
  return [
    ...(sourceSha256 === null ? [] : [{ name: bundleFiles.source, digest: { ...git, sha256: sourceSha256 } }]),
    ...(patchSha256 === null ? [] : [{ name: bundleFiles.patch, digest: { sha256: patchSha256 } }]),
  ];
}

/** The base image has no name: its bytes do not lie in a bundle. */
function environmentOf(environment: EnvironmentRow | undefined): Descriptor[] {
  if (environment === undefined) return [];
  const { base, lockSha256, facts } = environment;
  const lock = { name: bundleFiles.lock, digest: { sha256: lockSha256 } };
  if (base === null) return [lock];
  const annotations = json({ base: facts.base });
  return [lock, { uri: 'urn:assay:base-image', digest: { sha256: base.replace(/^sha256:/, '') }, annotations }];
}

async function dataOf(db: Database, runId: string): Promise<Descriptor[]> {
  const rows = await listRunData(db, runId);
  return (await Promise.all(rows.map((row) => datumOf(db, row)))).flat();
}

async function datumOf(db: Database, row: RunData): Promise<Descriptor[]> {
  const { name, to, asOf, digest, datasetName, datasetVersion, snapshotId } = row;
  if (datasetName !== null) {
    const annotations = json({ dataset: datasetName, version: datasetVersion, to });
    return [{ name: datasetListFile(name), digest: { sha256: digest }, annotations }];
  }
  const snapshot = await findSnapshot(db, snapshotId ?? '');
  if (snapshot === null) throw new TypeError(`The run's data ${name} has no snapshot.`);
  return [
    { name: snapshotFile(name), digest: { sha256: digest }, annotations: json({ asOf, to, rows: snapshot.rows }) },
    { name: queryFile(name), digest: { sha256: sha256Of(Buffer.from(snapshot.query)) } },
  ];
}

/** Of every attempt, also of those that failed. */
async function logsOf({ db, store }: StatementDeps, runId: string): Promise<Descriptor[]> {
  const printed = (await listLoggedAttempts(db, runId)).filter(({ sizeBytes }) => sizeBytes > 0);
  const described: Descriptor[] = [];
  for (const log of printed) {
    const hash = createHash('sha256');
    let sizeBytes = 0;
    for await (const { bytes } of readLog({ db, store }, log, 0)) {
      hash.update(bytes);
      sizeBytes += bytes.length;
    }
    const { step, attempt } = log;
    const name = logFile(step, attempt, log.runId !== runId);
    const annotations = { run: log.runId, step, attempt, sizeBytes };
    described.push({ name, digest: { sha256: hash.digest('hex') }, mediaType: 'text/plain', annotations });
  }
  return described;
}

/** Dates and undefined fields become what JSON has for them. */
function json(value: unknown): Record<string, Json> {
  return JSON.parse(JSON.stringify(value)) as Record<string, Json>;
}
