// A small bundle as the server writes it, from which tests take, to which they add, and that they damage.
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { canonicalJson, type Json } from '#core/canonical.ts';
import {
  artifactFile,
  bundleFiles,
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
  wheelsText,
} from '#proof/bundle-files.ts';
import { createSigner, encodePae, openEnvelope, sealEnvelope } from '#proof/envelope.ts';
import { readManifest } from '#proof/manifest.ts';
import { readmeText } from '#proof/readme.ts';
import { encodeStatement, statementMediaType } from '#proof/statement.ts';
import { encodeHeader, endBytes, paddingOf } from '#proof/tar-format.ts';

export type Files = Map<string, Buffer>;

export function newKey(): KeyObject {
  return generateKeyPairSync('ed25519').privateKey;
}

export const oddPath = `models/ünï ${'long/'.repeat(30)}two\nlines \\ back`;

const dataset = [
  { path: 'cats/1.png', bytes: Buffer.from('cat') },
  { path: 'dogs/1.png', bytes: Buffer.from('dog') },
];

/** All files of a bundle but the two lists, which `pack` adds. */
export function bundleOf(key: KeyObject, wanted: { withData: boolean } = { withData: true }): Files {
  const signer = createSigner(key);
  const source = Buffer.from('source');
  const lock = Buffer.from('# assay lock 1\nsix==1.17.0 \\\n    --hash=sha256:' + 'a'.repeat(64) + '\n');
  const artifacts = [
    { step: 'train', path: oddPath, bytes: Buffer.from('weights') },
    { step: 'train', path: 'empty', bytes: Buffer.alloc(0) },
  ];
  const list = datasetListText(dataset.map(({ path, bytes }) => listed(path, bytes)));
  const rows = Buffer.from('PAR1');
  const manifest = text({
    manifest: 1,
    run: { project: 'digits', number: 42 },
    code: { commit: 'c'.repeat(40), sourceSha256: sha256Of(source), patchSha256: null },
    params: { lr: 0.1 },
    seed: 7,
    asOf: '2026-03-01T00:00:00Z',
    environment: { lockSha256: sha256Of(lock) },
    data: [
      { name: 'pets', digest: sha256Of(list), dataset: 'pets' },
      { name: 'rows', digest: sha256Of(rows), dataset: null },
    ],
    artifacts: artifacts.map(({ step, path, bytes }) => ({ step, mediaType: 'text/plain', ...listed(path, bytes) })),
    metrics: [{ stage: 'train', key: 'accuracy', last: '0.9' }],
  });
  const query = Buffer.from('select 1');
  const log = Buffer.from('epoch 1\n');
  const named = (name: string, bytes: Buffer) => ({ name, digest: { sha256: sha256Of(bytes) } });
  const statement = encodeStatement({
    subject: artifacts.map(({ step, path, bytes }) => named(artifactFile(step, path), bytes)),
    externalParameters: { project: 'digits' },
    internalParameters: {},
    resolvedDependencies: [
      named(bundleFiles.source, source),
      named(bundleFiles.lock, lock),
      named(datasetListFile('pets'), list),
      named(snapshotFile('rows'), rows),
      named(queryFile('rows'), query),
    ],
    builderId: 'https://assay.example.org',
    invocationId: 'run.1',
    startedOn: null,
    byproducts: [named(bundleFiles.manifest, manifest), named('logs/train/1.log', log)],
  });
  const data: Array<[string, Buffer]> = [
    [snapshotFile('rows'), rows],
    ...dataset.map(({ path, bytes }): [string, Buffer] => [datasetFile('pets', path), bytes]),
  ];
  const facts = readManifest(manifest);
  if (facts === null) throw new Error('the manifest of this test is none');
  return new Map([
    [bundleFiles.manifest, manifest],
    [bundleFiles.source, source],
    [bundleFiles.lock, lock],
    [bundleFiles.wheels, wheelsText(lock)],
    [bundleFiles.params, paramsText(facts)],
    [bundleFiles.metrics, metricsText(facts)],
    [datasetListFile('pets'), list],
    [queryFile('rows'), query],
    ['logs/train/1.log', log],
    ...(wanted.withData ? data : []),
    ...artifacts.map(({ step, path, bytes }): [string, Buffer] => [artifactFile(step, path), bytes]),
    [bundleFiles.publicKey, Buffer.from(signer.publicKey)],
    ...signed(sealEnvelope(signer, statementMediaType, statement)),
    [
      bundleFiles.readme,
      readmeText({ run: 'digits/42', commit: 'c', keyId: signer.keyId, isDataLeftOut: !wanted.withData }),
    ],
  ]);
}

/** The envelope and the three files that are taken from it. */
export function signed(bytes: Buffer): Array<[string, Buffer]> {
  const envelope = openEnvelope(bytes);
  if (envelope === null) throw new Error('the envelope of this test is none');
  const { payload, payloadType, signature } = envelope;
  return [
    [bundleFiles.envelope, bytes],
    [bundleFiles.statement, payload],
    [bundleFiles.pae, encodePae(payloadType, payload)],
    [bundleFiles.signature, signature],
  ];
}

/** With lists that fit, as somebody would write them who changes a bundle on purpose. */
export function withLists(files: Files, data: 'included' | 'left out' = 'included'): Files {
  const keyId = openEnvelope(files.get(bundleFiles.envelope) ?? Buffer.alloc(0))?.keyId ?? '';
  const ordered = inBundleOrder([...files].map(([path, bytes]) => listed(path, bytes)));
  const index = encodeIndex({ bundle: 1, run: 'digits/42', keyId, data, files: ordered });
  const sums = encodeSums([listed(bundleFiles.index, index), ...ordered]);
  const rest = ordered.map(({ path }): [string, Buffer] => [path, files.get(path) ?? Buffer.alloc(0)]);
  return new Map([[bundleFiles.sums, sums], [bundleFiles.index, index], ...rest]);
}

/** In the order given. */
export function pack(files: Iterable<[string, Buffer]>): Buffer {
  const entries = [...files].flatMap(([path, bytes]) => [
    encodeHeader({ path, sizeBytes: bytes.length }),
    bytes,
    Buffer.alloc(paddingOf(bytes.length)),
  ]);
  return Buffer.concat([...entries, Buffer.alloc(endBytes)]);
}

export function without(files: Files, path: string): Files {
  return new Map([...files].filter(([name]) => name !== path));
}

function listed(path: string, bytes: Buffer) {
  return { path, sizeBytes: bytes.length, sha256: sha256Of(bytes) };
}

function text(value: Json): Buffer {
  return Buffer.from(`${canonicalJson(value)}\n`);
}
