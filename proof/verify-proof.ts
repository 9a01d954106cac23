// What the files of a bundle prove: signature → statement → manifest → every file. A file that nobody vouches for is
// named, except the two lists and the README.
import type { KeyObject } from 'node:crypto';
import { DomainError } from '#core/errors.ts';
import {
  artifactFile,
  builtWheels,
  type BundledFile,
  bundleFiles,
  type BundleIndex,
  datasetFile,
  datasetListFile,
  metricsText,
  paramsText,
  readDatasetList,
  snapshotFile,
  wheelFile,
  wheelsText,
} from './bundle-files.ts';
import { encodePae, type Envelope, isSignedBy, keyIdOf, openEnvelope, publicPem, readPublicKey } from './envelope.ts';
import { type Manifest, readManifest } from './manifest.ts';
import { quoted } from './read-archive.ts';
import { filesOfStatement, readStatement, statementMediaType } from './statement.ts';

export interface ReadFiles {
  found: Map<string, BundledFile>;
  /** Of those that are looked into. */
  contents: Map<string, Buffer>;
  index: BundleIndex | null;
}

export interface Proof {
  keyId: string | null;
  problems: string[];
}

export function checkProof(files: ReadFiles, expectedKey: KeyObject | null): Proof {
  const problems: string[] = [];
  const envelope = checkEnvelope(files, problems);
  if (envelope === null) return { keyId: null, problems };
  checkSignature(files, envelope, expectedKey, problems);
  const vouched = checkStatement(files, envelope, problems);
  const manifest = readManifest(files.contents.get(bundleFiles.manifest) ?? Buffer.alloc(0));
  if (manifest === null) problems.push(`${bundleFiles.manifest} is missing or no manifest`);
  else checkManifest(files, manifest, vouched, problems);
  if (manifest !== null && vouched !== null) checkVouched(files, vouched, problems);
  return { keyId: envelope.keyId, problems };
}

function checkEnvelope({ contents }: ReadFiles, problems: string[]): Envelope | null {
  const bytes = contents.get(bundleFiles.envelope);
  const envelope = bytes === undefined ? null : openEnvelope(bytes);
  if (envelope === null || envelope.payloadType !== statementMediaType) {
    problems.push(`${bundleFiles.envelope} is ${bytes === undefined ? 'missing' : 'no signed statement'}`);
    return null;
  }
  const parts = {
    [bundleFiles.statement]: envelope.payload,
    [bundleFiles.pae]: encodePae(envelope.payloadType, envelope.payload),
    [bundleFiles.signature]: envelope.signature,
  };
  for (const [path, wanted] of Object.entries(parts)) sameBytes(contents, path, wanted, bundleFiles.envelope, problems);
  return envelope;
}

/** Whoever changes a bundle can sign it again with a key of his own, which only the expected key shows. */
function checkSignature(
  { contents, index }: ReadFiles,
  envelope: Envelope,
  expectedKey: KeyObject | null,
  problems: string[],
): void {
  const own = ownKey(contents, problems);
  const ownId = own === null ? null : keyIdOf(own);
  if (ownId !== null && ownId !== envelope.keyId) {
    problems.push(`${bundleFiles.publicKey} is key ${ownId}, and the statement names key ${quotedId(envelope.keyId)}`);
  }
  if (index !== null && index.keyId !== envelope.keyId) {
    problems.push(
      `${bundleFiles.index} names key ${quotedId(index.keyId)}, and the statement key ${quotedId(envelope.keyId)}`,
    );
  }
  if (own !== null && !isSignedBy(envelope, own))
    problems.push(`the signature is not that of ${bundleFiles.publicKey} over the statement`);
  if (expectedKey === null) return;
  const expected = keyIdOf(expectedKey);
  if (ownId !== expected || envelope.keyId !== expected)
    problems.push(`signed by ${ownId ?? quotedId(envelope.keyId)}, expected ${expected}`);
  else if (!isSignedBy(envelope, expectedKey))
    problems.push(`the signature is not that of ${expected} over the statement`);
}

function ownKey(contents: ReadFiles['contents'], problems: string[]): KeyObject | null {
  const bytes = contents.get(bundleFiles.publicKey);
  if (bytes === undefined) {
    problems.push(`${bundleFiles.publicKey} is missing`);
    return null;
  }
  try {
    const key = readPublicKey(bytes.toString('utf8'), bundleFiles.publicKey);
    sameBytes(contents, bundleFiles.publicKey, Buffer.from(publicPem(key)), 'the key in it', problems);
    return key;
  } catch (error) {
    if (!(error instanceof DomainError)) throw error;
    problems.push(`${bundleFiles.publicKey} is not the public half of an Ed25519 key`);
    return null;
  }
}

/** Answers what the statement vouches for, by name. */
function checkStatement(files: ReadFiles, { payload }: Envelope, problems: string[]): Map<string, string> | null {
  const statement = readStatement(payload);
  if (statement === null) {
    problems.push('what is signed is not the provenance of a run');
    return null;
  }
  const vouched = filesOfStatement(statement);
  for (const [path, sha256] of vouched) sameDigest(files, path, sha256, 'the statement', problems);
  return vouched;
}

function checkManifest(
  files: ReadFiles,
  manifest: Manifest,
  vouched: Map<string, string> | null,
  problems: string[],
): void {
  const { contents, index } = files;
  const { code, environment, data, artifacts, run } = manifest;
  const says = (path: string, sha256: string) => {
    sameDigest(files, path, sha256, 'the manifest', problems);
    vouched?.set(path, sha256);
  };
  const label = `${run.project}/${run.number}`;
  if (index !== null && index.run !== label)
    problems.push(`${bundleFiles.index} names ${quoted(index.run)}, and the manifest ${quoted(label)}`);
  says(bundleFiles.source, code.sourceSha256);
  if (typeof code.patchSha256 === 'string') says(bundleFiles.patch, code.patchSha256);
  if (environment) says(bundleFiles.lock, environment.lockSha256);
  for (const { name, digest, dataset } of data)
    says(dataset === null ? snapshotFile(name) : datasetListFile(name), digest);
  for (const { name, dataset } of data) if (dataset !== null) checkDataset(files, name, says, problems);
  for (const { step, path, sha256 } of artifacts) says(artifactFile(step, path), sha256);
  const derived = (path: string, wanted: Buffer, from: string) => {
    sameBytes(contents, path, wanted, from, problems);
    vouched?.set(path, '');
  };
  derived(bundleFiles.params, paramsText(manifest), bundleFiles.manifest);
  derived(bundleFiles.metrics, metricsText(manifest), bundleFiles.manifest);
  const lock = contents.get(bundleFiles.lock);
  if (lock === undefined) return;
  derived(bundleFiles.wheels, wheelsText(lock), bundleFiles.lock);
  for (const { filename, sha256 } of builtWheels(lock))
    if (files.found.has(wheelFile(filename))) says(wheelFile(filename), sha256);
}

function checkDataset(
  { contents }: ReadFiles,
  name: string,
  says: (path: string, sha256: string) => void,
  problems: string[],
): void {
  const bytes = contents.get(datasetListFile(name));
  const list = bytes === undefined ? null : readDatasetList(bytes);
  if (list === null) problems.push(`${datasetListFile(name)} is missing or no list of files`);
  for (const { path, sha256 } of list ?? []) says(datasetFile(name, path), sha256);
}

/** Everything else could have been added or changed without the signature's knowing. */
function checkVouched({ found }: ReadFiles, vouched: Map<string, string>, problems: string[]): void {
  const { sums, index, readme, envelope, statement, pae, signature, publicKey } = bundleFiles;
  const others: readonly string[] = [sums, index, readme, envelope, statement, pae, signature, publicKey];
  for (const path of found.keys()) {
    if (!vouched.has(path) && !others.includes(path))
      problems.push(`${quoted(path)} is not vouched for by what is signed`);
  }
}

function sameDigest({ found, index }: ReadFiles, path: string, sha256: string, says: string, problems: string[]): void {
  const file = found.get(path);
  if (file?.sha256 === sha256) return;
  if (file !== undefined) problems.push(`${quoted(path)} has sha256 ${file.sha256}; ${says} says ${sha256}`);
  else if (!(index?.data === 'left out' && isData(path))) problems.push(`${quoted(path)} is missing; ${says} names it`);
}

/** What `--without-data` leaves out: not the queries, and not the lists. */
function isData(path: string): boolean {
  return path.startsWith('data/') && !/^data\/[^/]+\.jsonl$/.test(path);
}

function sameBytes(
  contents: ReadFiles['contents'],
  path: string,
  wanted: Buffer,
  from: string,
  problems: string[],
): void {
  const bytes = contents.get(path);
  if (bytes === undefined) problems.push(`${path} is missing or too large to be read`);
  else if (!bytes.equals(wanted)) problems.push(`${path} is not what follows from ${from}`);
}

function quotedId(keyId: string): string {
  return /^[0-9a-f]{64}$/.test(keyId) ? keyId : quoted(keyId);
}
