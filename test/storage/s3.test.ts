import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createS3Store, type S3StoreOptions } from '#storage/s3.ts';
import { createTestBucket, type TestBucket } from '../support/s3.ts';
import { blobStoreContract } from './blob-store-contract.ts';

function optionsFor({ endpoint, region, bucket, credentials }: TestBucket, spoolDir: string): S3StoreOptions {
  return {
    endpoint,
    publicEndpoint: null,
    region,
    bucket,
    prefix: 'team/assay',
    pathStyle: true,
    credentials,
    extraCa: null,
    spoolDir,
  };
}

async function flipByte(path: string): Promise<void> {
  const handle = await open(path, 'r+');
  const { buffer: byte } = await handle.read(Buffer.alloc(1), 0, 1, 100);
  await handle.write(Buffer.from([byte.readUInt8(0) ^ 1]), 0, 1, 100);
  await handle.close();
}

blobStoreContract('the S3 store', async () => {
  const bucket = await createTestBucket();
  const spool = await mkdtemp(join(tmpdir(), 'assay-spool-'));
  return {
    store: await createS3Store(optionsFor(bucket, spool)),
    damage: (sha256) => flipByte(join(bucket.folder, 'team/assay/objects', sha256.slice(0, 2), sha256)),
    remove: () => rm(spool, { recursive: true, force: true }),
  };
});
