// What a bundle of a run consists of, file by file. Manifest and statement say what belongs to it; rows say where it lies.
import { Readable } from 'node:stream';
import { DomainError } from '#core/errors.ts';
import { blobSizes } from '#db/blobs.ts';
import type { Database } from '#db/connect.ts';
import { filesOf } from '#db/datasets.ts';
import { findBlobsOfRun, type RunBlob } from '#db/run-blobs.ts';
import { listRunData, type RunData } from '#db/run-data.ts';
import { findSigningKey } from '#db/signing-keys.ts';
import { findSnapshot } from '#db/snapshots.ts';
import {
  artifactFile,
  builtWheels,
  type BundledFile,
  bundleFiles,
  type BundleIndex,
  datasetFile,
  datasetListFile,
  datasetListText,
  encodeIndex,
  encodeSums,
  inBundleOrder,
  metricsText,
  paramsText,
  queryFile,
  sha256Of,
  snapshotFile,
  wheelFile,
  wheelsText,
} from '#proof/bundle-files.ts';
import { encodePae, openEnvelope } from '#proof/envelope.ts';
import { type Manifest, readManifest } from '#proof/manifest.ts';
import { readmeText } from '#proof/readme.ts';
import { readLogs } from '#proof/statement.ts';
import type { BlobStore } from '#storage/blob-store.ts';
import { readBlob } from '#storage/keep.ts';
import { readLog } from '#storage/log-bytes.ts';

/** A file of the bundle with its bytes from one position on. */
export interface BundlePart extends BundledFile {
  open: (from: number) => Promise<Readable> | Readable;
  /** The blob that holds it; null for what is made here. */
  blob: string | null;
}

export interface Bundle {
  label: string;
  parts: BundlePart[];
}

interface Deps {
  db: Database;
  store: BlobStore;
}

/** @throws DomainError not-found for a run that has no statement; blob-missing when something of it is gone. */
export async function composeBundle(deps: Deps, runId: string, wanted: { withData: boolean }): Promise<Bundle> {
  const { label, blobs } = await findBlobsOfRun(deps.db, runId);
  const { manifest, statement, source, lock } = blobs;
  if (manifest === null || statement === null || source === null) throw notProven(label);
  const facts = readManifest(await readBlob(deps.store, manifest.sha256));
  if (facts === null) throw new TypeError(`The manifest of ${label} is no manifest.`);
  const lockText = lock === null ? null : await readBlob(deps.store, lock.sha256);
  const signed = await signedParts(deps, await readBlob(deps.store, statement.sha256));
  const rows = await listRunData(deps.db, runId);
  const parts = [
    ...signed.parts,
    blobPart(deps, bundleFiles.manifest, manifest),
    blobPart(deps, bundleFiles.source, source),
    ...(blobs.patch === null ? [] : [blobPart(deps, bundleFiles.patch, blobs.patch)]),
    ...(lock === null || lockText === null ? [] : await lockParts(deps, lock, lockText)),
    ...(await Promise.all(rows.map((row) => dataParts(deps, row, wanted)))).flat(),
    ...facts.artifacts.map((file) => blobPart(deps, artifactFile(file.step, file.path), file)),
    ...logParts(deps, signed.payload),
    textPart(bundleFiles.params, paramsText(facts)),
    textPart(bundleFiles.metrics, metricsText(facts)),
  ];
  const { keyId } = signed;
  const data = rows.length === 0 ? 'none' : wanted.withData ? 'included' : 'left out';
  return { label, parts: withLists(parts, { run: label, keyId, data }, facts) };
}

/** The two lists come first, so that whoever reads the stream knows what is to come. */
function withLists(
  parts: readonly BundlePart[],
  head: Pick<BundleIndex, 'run' | 'keyId' | 'data'>,
  { code }: Manifest,
): BundlePart[] {
  const readme = readmeText({ ...head, commit: code.commit, isDataLeftOut: head.data === 'left out' });
  const files = inBundleOrder([...parts, textPart(bundleFiles.readme, readme)]);
  const index = textPart(bundleFiles.index, encodeIndex({ bundle: 1, ...head, files }));
  const sums = textPart(bundleFiles.sums, encodeSums([index, ...files]));
  return [sums, index, ...files];
}

async function signedParts({ db }: Deps, bytes: Buffer) {
  const envelope = openEnvelope(bytes);
  const key = envelope === null ? undefined : await findSigningKey(db, envelope.keyId);
  if (envelope === null || key === undefined)
    throw new TypeError('A statement was signed with a key that is not known.');
  const { payload, payloadType, signature, keyId } = envelope;
  const parts = [
    textPart(bundleFiles.envelope, bytes),
    textPart(bundleFiles.statement, payload),
    textPart(bundleFiles.pae, encodePae(payloadType, payload)),
    textPart(bundleFiles.signature, signature),
    textPart(bundleFiles.publicKey, Buffer.from(key.publicKey)),
  ];
  return { parts, payload, keyId };
}

/** A wheel that was collected meanwhile is still named by the lock and by the list. */
async function lockParts(deps: Deps, lock: RunBlob, text: Buffer): Promise<BundlePart[]> {
  const wheels = builtWheels(text);
  const sizes = await blobSizes(
    deps.db,
    wheels.map(({ sha256 }) => sha256),
  );
  const kept = wheels.flatMap(({ sha256, filename }) => {
    const sizeBytes = sizes.get(sha256);
    return sizeBytes === undefined ? [] : [blobPart(deps, wheelFile(filename), { sha256, sizeBytes })];
  });
  return [blobPart(deps, bundleFiles.lock, lock), textPart(bundleFiles.wheels, wheelsText(text)), ...kept];
}

async function dataParts(deps: Deps, row: RunData, { withData }: { withData: boolean }): Promise<BundlePart[]> {
  const { name, datasetName, datasetVersion } = row;
  if (datasetName !== null) {
    const files = await filesOf(deps.db, datasetName, datasetVersion ?? 0);
    const list = textPart(datasetListFile(name), datasetListText(files));
    return withData ? [list, ...files.map((file) => blobPart(deps, datasetFile(name, file.path), file))] : [list];
  }
  const snapshot = await findSnapshot(deps.db, row.snapshotId ?? '');
  if (snapshot === null) throw new TypeError(`The run's data ${name} has no snapshot.`);
  const query = textPart(queryFile(name), Buffer.from(snapshot.query));
  return withData ? [query, blobPart(deps, snapshotFile(name), snapshot)] : [query];
}

/** Those that were signed, whatever was printed since. */
function logParts(deps: Deps, payload: Buffer): BundlePart[] {
  return readLogs(payload).map(({ path, sha256, sizeBytes, runId, step, attempt }) => ({
    path,
    sha256,
    sizeBytes,
    blob: null,
    open: (from) => Readable.from(bytesOf(deps, { runId, step, attempt }, from), { objectMode: false }),
  }));
}

async function* bytesOf(deps: Deps, log: { runId: string; step: string; attempt: number }, from: number) {
  for await (const { bytes } of readLog(deps, log, from)) yield bytes;
}

function textPart(path: string, bytes: Buffer): BundlePart {
  return {
    path,
    sizeBytes: bytes.length,
    sha256: sha256Of(bytes),
    blob: null,
    open: (from) => Readable.from([bytes.subarray(from)], { objectMode: false }),
  };
}

function blobPart({ store }: Deps, path: string, { sha256, sizeBytes }: RunBlob): BundlePart {
  const open = (from: number) => store.get(sha256, from === 0 ? undefined : { start: from, end: sizeBytes - 1 });
  return { path, sha256, sizeBytes, blob: sha256, open };
}

function notProven(label: string): DomainError {
  return new DomainError(
    'not-found',
    `${label} has no signed statement: the step persist writes it at the end of a run, since this version of Assay. Export a run that came that far.`,
  );
}
