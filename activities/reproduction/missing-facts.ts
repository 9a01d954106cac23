// Whether a run can be done again from what is kept of it: asked at submit, and again when the reproduction starts.
import { DomainError, type ErrorDetail } from '#core/errors.ts';
import { isFinished } from '#core/run.ts';
import { findResult } from '#db/claims.ts';
import type { Database } from '#db/connect.ts';
import { getEnvironment } from '#db/environments.ts';
import { listDatasetBlobs } from '#db/reproductions.ts';
import { listRunData, type RunData } from '#db/run-data.ts';
import type { LoadedRun } from '#db/run-facts.ts';
import { listSecrets } from '#db/secrets.ts';
import { findSnapshot } from '#db/snapshots.ts';
import { mapLimited } from '#lake/map-limited.ts';
import type { BlobStore } from '#storage/blob-store.ts';
import { ancestors } from '#activities/stage/ancestors.ts';

export interface KeptDeps {
  db: Database;
  store: BlobStore;
}

/** Of a dataset's files; the step that loads them looks at the rest. */
const filesLookedAt = 256;
const statsAtOnce = 16;

/** @throws not-reproducible naming every fact and every object that is missing. */
export async function requireReproducible(deps: KeptDeps, original: LoadedRun, only: string | null): Promise<void> {
  const missing = await missingFacts(deps, original, only);
  if (missing.length === 0) return;
  const label = `${original.project.name}/${original.run.number}`;
  const words = missing.map(({ message }) => message).join('; ');
  throw new DomainError('not-reproducible', `${label} can not be reproduced: ${words}.`, missing);
}

async function missingFacts(deps: KeptDeps, original: LoadedRun, only: string | null): Promise<ErrorDetail[]> {
  const found = await Promise.all([
    missingOfSource(deps, original),
    missingOfEnvironment(deps, original),
    missingOfData(deps, original),
    missingOfSecrets(deps, original),
    missingOfNeeded(deps, original, only),
  ]);
  return [...missingOfRun(original), ...found.flat()];
}

function missing(path: string, message: string): ErrorDetail[] {
  return [{ path, message }];
}

function missingOfRun({ run }: LoadedRun): ErrorDetail[] {
  return [
    ...(isFinished(run.status)
      ? []
      : missing('status', `it is ${run.status}, and only a finished run can be reproduced`)),
    ...missingOutcome(run),
    ...(run.commit === null || run.plan === null ? missing('commit', 'it never reached a commit') : []),
    ...(run.reproducesOnly === null
      ? []
      : missing('steps', `it ran ${run.reproducesOnly} alone, and a whole run is needed`)),
  ];
}

/** What the platform did to a run, or a person, says nothing that could be compared. */
function missingOutcome({ status, failure }: LoadedRun['run']): ErrorDetail[] {
  if (status === 'cancelled') return missing('outcome', 'it was cancelled, so it has no outcome to compare with');
  if (failure?.class !== 'infrastructure' && failure?.class !== 'platform') return [];
  return missing(
    'outcome',
    `it ended by trouble of the platform (${failure.class}), which is no outcome to compare with`,
  );
}

async function missingOfSource(deps: KeptDeps, { run }: LoadedRun): Promise<ErrorDetail[]> {
  const patch = await missingBlob(deps, 'patch', 'its patch of uncommitted changes', run.patchSha256);
  if (run.sourceSha256 === null) return [...missing('source', 'its source was never stored'), ...patch];
  return [...(await missingBlob(deps, 'source', 'its source', run.sourceSha256)), ...patch];
}

async function missingOfEnvironment(deps: KeptDeps, { run }: LoadedRun): Promise<ErrorDetail[]> {
  if (run.environmentKey === null) return missing('environment', 'its environment was never made');
  const row = await getEnvironment(deps.db, run.environmentKey);
  if (row === undefined) return missing('environment', `there is no environment ${run.environmentKey} any more`);
  return await missingBlob(deps, 'lock', 'its lock', row.lockSha256);
}

async function missingOfData(deps: KeptDeps, { run }: LoadedRun): Promise<ErrorDetail[]> {
  const rows = new Map((await listRunData(deps.db, run.id)).map((row) => [row.name, row]));
  const ofQueries = await mapLimited(run.config?.data ?? [], statsAtOnce, async ({ name }) => {
    const row = rows.get(name);
    if (row === undefined) return missing(`data.${name}`, `its data ${name} was never loaded`);
    return row.datasetName === null ? await missingOfSnapshot(deps, row) : [];
  });
  const files = (await listDatasetBlobs(deps.db, run.id)).slice(0, filesLookedAt);
  const ofDatasets = await mapLimited(files, statsAtOnce, ({ name, sha256 }) =>
    missingBlob(deps, `data.${name}`, `a file of its data ${name}`, sha256),
  );
  return [...ofQueries, ...ofDatasets].flat();
}

/** The snapshot itself, or else the segments from which it is made again. */
async function missingOfSnapshot(deps: KeptDeps, row: RunData): Promise<ErrorDetail[]> {
  const snapshot = await findSnapshot(deps.db, row.snapshotId ?? '');
  if (snapshot === null)
    return missing(`data.${row.name}`, `the snapshot of its data ${row.name} is not known any more`);
  const gone = await missingBlob(deps, `data.${row.name}`, `the snapshot of its data ${row.name}`, snapshot.sha256);
  if (gone.length === 0) return [];
  const segments = await mapLimited(snapshot.segments, statsAtOnce, ({ table, sha256 }) =>
    missingBlob(deps, `data.${row.name}`, `a segment of table ${table} behind its data ${row.name}`, sha256),
  );
  return segments.flat().length === 0 ? [] : [...gone, ...segments.flat()];
}

async function missingOfSecrets(deps: KeptDeps, { run, project }: LoadedRun): Promise<ErrorDetail[]> {
  const wanted = run.config?.secrets ?? [];
  if (wanted.length === 0) return [];
  const known = new Set((await listSecrets(deps.db, project.id)).map(({ name }) => name));
  return wanted.filter((name) => !known.has(name)).flatMap((name) => missing('secrets', `its secret ${name} is gone`));
}

async function missingOfNeeded(deps: KeptDeps, { run }: LoadedRun, only: string | null): Promise<ErrorDetail[]> {
  if (only === null) return [];
  const needed = [...ancestors(run.config?.stages ?? [], only)];
  const found = await mapLimited(needed, statsAtOnce, async (stage) => {
    const result = await findResult(deps.db, run.id, stage);
    if (result === null) return missing(`steps.${stage}`, `it has no result of ${stage}, which ${only} needs`);
    const gone = await mapLimited(result.blobs, statsAtOnce, (sha256) =>
      missingBlob(deps, `steps.${stage}`, `a file that ${stage} wrote`, sha256),
    );
    return gone.flat();
  });
  return found.flat();
}

async function missingBlob(deps: KeptDeps, path: string, what: string, sha256: string | null): Promise<ErrorDetail[]> {
  if (sha256 === null || (await deps.store.stat(sha256)) !== null) return [];
  return missing(path, `${what} is gone (blob ${sha256.slice(0, 12)})`);
}

/** An object that is missing or damaged, as what it is to the run: `what` is not there to be done again with. */
export async function orNotReproducible<R>(what: string, act: () => Promise<R>): Promise<R> {
  try {
    return await act();
  } catch (error) {
    const isGone = error instanceof DomainError && goneCodes.has(error.code);
    if (!isGone) throw error;
    throw new DomainError(
      'not-reproducible',
      `The ${what} of the run to be reproduced is gone or damaged: ${error.message}`,
    );
  }
}

const goneCodes: ReadonlySet<string> = new Set(['blob-missing', 'blob-corrupt', 'source-refused']);
