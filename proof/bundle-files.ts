// What lies in a bundle, under which names, and the texts that follow from others. Version 1; a change of any of these
// names or texts is a new version, because bundles outlive programs.
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { canonicalJson, type Json } from '#core/canonical.ts';
import { type Manifest, parseJson } from './manifest.ts';

export const bundleFiles = {
  /** In the form of `sha256sum`; the first file, so that all others can be checked as they pass. */
  sums: 'SHA256SUMS',
  /** The second: what the bundle is, and path, size and sha256 of every file after it. */
  index: 'index.json',
  readme: 'README.md',
  manifest: 'manifest.json',
  envelope: 'statement.dsse.json',
  /** The statement itself, the exact bytes that are signed, and the signature: for `openssl`. */
  statement: 'statement.json',
  pae: 'statement.pae',
  signature: 'statement.sig',
  publicKey: 'public-key.pem',
  params: 'params.json',
  metrics: 'metrics.json',
  source: 'source.tar',
  patch: 'changes.patch',
  lock: 'requirements.lock.txt',
  wheels: 'wheels.txt',
} as const;

export const artifactFile = (step: string, path: string): string => `artifacts/${step}/${path}`;
export const queryFile = (name: string): string => `queries/${name}.sql`;
export const snapshotFile = (name: string): string => `data/${name}.parquet`;
/** One line of JSON per file of the dataset: path, size, sha256. Its sha256 is the digest of the dataset's version. */
export const datasetListFile = (name: string): string => `data/${name}.jsonl`;
export const datasetFile = (name: string, path: string): string => `data/${name}/${path}`;
export const wheelFile = (filename: string): string => `wheels/${filename}`;
/** Of a step that took the result of another run, that run's attempt made the result. */
export const logFile = (step: string, attempt: number, isReused: boolean): string =>
  `logs/${step}/${isReused ? 'reused-' : ''}${attempt}.log`;

export interface BundledFile {
  path: string;
  sizeBytes: number;
  sha256: string;
}

const indexSchema = z.object({
  bundle: z.literal(1),
  run: z.string(),
  keyId: z.string(),
  data: z.enum(['included', 'left out', 'none']),
  files: z.array(
    z.object({ path: z.string(), sizeBytes: z.number().int().min(0), sha256: z.string().regex(/^[0-9a-f]{64}$/) }),
  ),
});

export type BundleIndex = z.output<typeof indexSchema>;

export function encodeIndex(index: BundleIndex): Buffer {
  const { files, ...head } = index;
  const lines = files.map(({ path, sizeBytes, sha256 }) => JSON.stringify({ path, sizeBytes, sha256 }));
  return Buffer.from(`${JSON.stringify(head).slice(0, -1)},"files":[\n${lines.join(',\n')}\n]}\n`);
}

export function readIndex(bytes: Buffer): BundleIndex | null {
  return parseJson(indexSchema, bytes);
}

/** Files after the index stand in the order of their paths' bytes. */
export function inBundleOrder<T extends { path: string }>(files: readonly T[]): T[] {
  const keyed = files.map((file) => ({ file, key: Buffer.from(file.path) }));
  return keyed.toSorted((a, b) => Buffer.compare(a.key, b.key)).map(({ file }) => file);
}

export function encodeSums(files: ReadonlyArray<Pick<BundledFile, 'path' | 'sha256'>>): Buffer {
  return Buffer.from(files.map(sumLine).join(''));
}

/** As GNU coreutils write it: a backslash before the digest says that the name has escapes. */
function sumLine({ path, sha256 }: Pick<BundledFile, 'path' | 'sha256'>): string {
  const escaped = path.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('\r', '\\r');
  return `${escaped === path ? '' : '\\'}${sha256}  ${escaped}\n`;
}

export function paramsText({ params, seed, asOf }: Pick<Manifest, 'params' | 'seed' | 'asOf'>): Buffer {
  return readable({ params, seed, asOf });
}

export function metricsText({ metrics }: Pick<Manifest, 'metrics'>): Buffer {
  return readable(metrics);
}

/** Every file that the lock allows to be installed: its sha256, then the requirement or the file's name. */
export function wheelsText(lock: Buffer): Buffer {
  const joined = lock.toString('utf8').replaceAll(' \\\n', ' ').split('\n');
  const lines = joined.flatMap((line) => {
    const [, built, filename] = /^# wheel ([0-9a-f]{64}) (\S+)$/.exec(line) ?? [];
    if (built !== undefined) return [`${built}  ${filename}`];
    const requirement = line.replaceAll(/\s*--hash=\S+/g, '').trim();
    return [...line.matchAll(/--hash=sha256:([0-9a-f]{64})/g)].map(([, sha256]) => `${sha256}  ${requirement}`);
  });
  return Buffer.from(lines.map((line) => `${line}\n`).join(''));
}

/** Wheels that no index has, built from a commit or taken from the tree. */
export function builtWheels(lock: Buffer): Array<{ sha256: string; filename: string }> {
  const found = lock.toString('utf8').matchAll(/^# wheel ([0-9a-f]{64}) (\S+)$/gm);
  return [...found].map(([, sha256 = '', filename = '']) => ({ sha256, filename }));
}

export function datasetListText(files: readonly BundledFile[]): Buffer {
  const lines = files.map(({ path, sizeBytes, sha256 }) => `${JSON.stringify([path, sizeBytes, sha256])}\n`);
  return Buffer.from(lines.join(''));
}

const datasetLine = z.tuple([z.string(), z.number().int().min(0), z.string()]);

/** Null for what is not such a list. */
export function readDatasetList(bytes: Buffer): BundledFile[] | null {
  const lines = bytes.toString('utf8').split('\n').slice(0, -1);
  const parsed = lines.map((line) => parseJson(datasetLine, Buffer.from(line)));
  const files = parsed.flatMap((line) => {
    if (line === null) return [];
    const [path, sizeBytes, sha256] = line;
    return [{ path, sizeBytes, sha256 }];
  });
  return files.length === lines.length ? files : null;
}

export function sha256Of(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function readable(value: Json): Buffer {
  return Buffer.from(`${JSON.stringify(JSON.parse(canonicalJson(value)), null, 2)}\n`);
}
