import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { inject } from 'vitest';
import type { S3Address } from './s3-server.ts';

export interface TestBucket extends S3Address {
  bucket: string;
}

/** An empty bucket on the run's S3 server, which this call starts if no test did so before. */
export async function createTestBucket(): Promise<TestBucket> {
  const response = await fetch(`${inject('servicesUrl')}/s3`);
  if (!response.ok) throw new Error(await response.text());
  return await createBucketOn((await response.json()) as S3Address);
}

export async function createBucketOn(server: S3Address): Promise<TestBucket> {
  const { endpoint, region, credentials } = server;
  const bucket = `test-${randomUUID()}`;
  const client = new S3Client({ endpoint, region, credentials, forcePathStyle: true });
  try {
    await client.send(new CreateBucketCommand({ Bucket: bucket }));
  } finally {
    client.destroy();
  }
  return { endpoint, region, credentials, bucket, folder: join(server.folder, bucket) };
}
