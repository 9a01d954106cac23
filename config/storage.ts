// Where blobs live: a folder of this machine, or the bucket of an S3 server.
import { join, resolve } from 'node:path';
import type { Environment } from './env.ts';

export type StorageConfig =
  | { kind: 'disk'; path: string }
  | {
      kind: 's3';
      /** Null is AWS. */
      endpoint: string | null;
      /** The same server as the receivers of links reach it; null is no different. */
      publicEndpoint: string | null;
      region: string;
      bucket: string;
      /** Without a slash at either end; empty for none. */
      prefix: string;
      pathStyle: boolean;
    };

/** What servers other than AWS expect when nobody gave them a region. */
const usualRegion = 'us-east-1';

export function storageConfig(env: Environment, home: string): StorageConfig {
  if (env.ASSAY_STORAGE !== 's3') return { kind: 'disk', path: resolve(env.ASSAY_STORAGE_PATH ?? join(home, 'blobs')) };
  const endpoint = env.ASSAY_S3_ENDPOINT ?? null;
  return {
    kind: 's3',
    endpoint,
    publicEndpoint: env.ASSAY_S3_PUBLIC_ENDPOINT ?? null,
    region: env.ASSAY_S3_REGION ?? usualRegion,
    bucket: env.ASSAY_S3_BUCKET ?? '',
    prefix: env.ASSAY_S3_PREFIX ?? '',
    pathStyle: env.ASSAY_S3_PATH_STYLE === undefined ? endpoint !== null : env.ASSAY_S3_PATH_STYLE === 'yes',
  };
}

const s3Variables = [
  'ASSAY_S3_ENDPOINT',
  'ASSAY_S3_PUBLIC_ENDPOINT',
  'ASSAY_S3_REGION',
  'ASSAY_S3_BUCKET',
  'ASSAY_S3_PREFIX',
  'ASSAY_S3_PATH_STYLE',
  'ASSAY_S3_ACCESS_KEY_ID',
  'ASSAY_S3_SECRET_ACCESS_KEY',
] as const;

export function storageContradictions(env: Environment): string[] {
  if (env.ASSAY_STORAGE !== 's3') {
    return s3Variables
      .filter((name) => env[name] !== undefined)
      .map((name) => `${name} is set, but blobs are kept on disk: set ASSAY_STORAGE=s3, or unset it.`);
  }
  const problems: string[] = [];
  if (env.ASSAY_STORAGE_PATH)
    problems.push('ASSAY_STORAGE_PATH is for blobs on disk, but ASSAY_STORAGE is "s3": unset one of them.');
  if (!env.ASSAY_S3_BUCKET)
    problems.push('ASSAY_S3_BUCKET is not set: name the bucket that ASSAY_STORAGE=s3 is to use.');
  if (!env.ASSAY_S3_ENDPOINT && !env.ASSAY_S3_REGION)
    problems.push('ASSAY_S3_REGION is not set: name the region of the bucket, or the server in ASSAY_S3_ENDPOINT.');
  if ((env.ASSAY_S3_ACCESS_KEY_ID === undefined) !== (env.ASSAY_S3_SECRET_ACCESS_KEY === undefined)) {
    problems.push(
      'ASSAY_S3_ACCESS_KEY_ID and ASSAY_S3_SECRET_ACCESS_KEY belong together: give both, or neither to use the credentials of this machine.',
    );
  }
  return problems;
}
