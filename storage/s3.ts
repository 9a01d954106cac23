// Blobs as objects of one bucket of an S3 server.
import { DeleteObjectCommand, ListObjectsV2Command } from '@aws-sdk/client-s3';
import { type BlobStore, type StoredBlob, isSha256 } from './blob-store.ts';
import {
  type Bucket,
  type S3StoreOptions,
  asking,
  makeBucket,
  objectOf,
  objectsPrefix,
  openBucket,
} from './s3/bucket.ts';
import { sweepFolder } from './disk-layout.ts';
import { copyFromBucket } from './s3/copy.ts';
import { linkToBucket } from './s3/link.ts';
import { sweepUploads } from './s3/multipart.ts';
import { stageInBucket } from './s3/put.ts';
import { getFromBucket, statInBucket } from './s3/read.ts';
import { openSpool } from './s3/spool.ts';

export { makeBucket, type S3StoreOptions };

/** @throws StorageUnavailableError, in one sentence, when the bucket can not be listed. */
export async function createS3Store(options: S3StoreOptions): Promise<BlobStore> {
  const bucket = await openBucket(options);
  await openSpool(bucket.spoolDir);
  return {
    stage: (source, putOptions = {}) => stageInBucket(bucket, source, putOptions),
    put: async (source, putOptions = {}) => {
      const staged = await stageInBucket(bucket, source, putOptions);
      try {
        await staged.commit();
      } catch (error) {
        await staged.discard();
        throw error;
      }
      return { sha256: staged.sha256, sizeBytes: staged.sizeBytes };
    },
    get: (sha256, range) => getFromBucket(bucket, sha256, range),
    copyTo: (sha256, path, copyOptions) => copyFromBucket(bucket, sha256, path, copyOptions?.mode ?? 0o644),
    stat: (sha256) => statInBucket(bucket, sha256),
    delete: (sha256) => remove(bucket, sha256),
    link: (sha256, linkOptions) => linkToBucket(bucket, sha256, linkOptions),
    list: () => list(bucket),
    sweep: async (olderThanMs) =>
      (await sweepFolder(bucket.spoolDir, olderThanMs)) + (await sweepUploads(bucket, olderThanMs)),
  };
}

/** The server says the same whether there was something or not, so it is asked before. */
async function remove(bucket: Bucket, sha256: string): Promise<boolean> {
  if ((await statInBucket(bucket, sha256)) === null) return false;
  await asking(bucket, () => bucket.client.send(new DeleteObjectCommand(objectOf(bucket, sha256))));
  return true;
}

async function* list(bucket: Bucket): AsyncGenerator<StoredBlob> {
  let next: string | undefined;
  do {
    const command: ListObjectsV2Command = new ListObjectsV2Command({
      Bucket: bucket.name,
      Prefix: objectsPrefix(bucket),
      ContinuationToken: next,
    });
    const page = await asking(bucket, () => bucket.client.send(command));
    for (const { Key, Size, LastModified } of page.Contents ?? []) {
      const sha256 = Key?.split('/').at(-1) ?? '';
      if (isSha256(sha256)) yield { sha256, sizeBytes: Size ?? 0, modifiedAt: LastModified ?? new Date() };
    }
    next = page.IsTruncated === true ? page.NextContinuationToken : undefined;
  } while (next !== undefined);
}
