// What the suites about S3 have in common: a store on a bucket, and ways to reach behind its back.
import { mkdtemp, open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { S3StoreOptions } from '#storage/s3.ts';
import type { TestBucket } from '../support/s3.ts';

export const prefix = 'team/assay';

export async function optionsFor({ endpoint, region, bucket, credentials }: TestBucket): Promise<S3StoreOptions> {
  return {
    endpoint,
    publicEndpoint: null,
    region,
    bucket,
    prefix,
    pathStyle: true,
    credentials,
    extraCa: null,
    spoolDir: await mkdtemp(join(tmpdir(), 'assay-spool-')),
  };
}

/** The file in which the server keeps the object. */
export function objectFile({ folder }: TestBucket, sha256: string): string {
  return join(folder, prefix, 'objects', sha256.slice(0, 2), sha256);
}

export async function flipByte(path: string): Promise<void> {
  const handle = await open(path, 'r+');
  const { buffer: byte } = await handle.read(Buffer.alloc(1), 0, 1, 100);
  await handle.write(Buffer.from([byte.readUInt8(0) ^ 1]), 0, 1, 100);
  await handle.close();
}
