import { GetObjectCommand } from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import type { LinkOptions } from '#storage/blob-store.ts';
import { type Bucket, asking, objectOf } from './bucket.ts';

/** Of a signature of this kind. */
const expiresSecondsMax = 7 * 24 * 60 * 60;

/** The answer's headers are part of what is signed: whoever has the link can not make a browser show what it names. */
export async function linkToBucket(
  bucket: Bucket,
  sha256: string,
  { disposition, mediaType, expiresInMs }: LinkOptions,
): Promise<string> {
  const command = new GetObjectCommand({
    ...objectOf(bucket, sha256),
    ResponseContentDisposition: disposition,
    ResponseContentType: mediaType,
    ResponseCacheControl: 'private, no-cache',
  });
  const expiresIn = Math.min(expiresSecondsMax, Math.max(1, Math.ceil(expiresInMs / 1000)));
  return await asking(bucket, () => getSignedUrl(bucket.linking, command, { expiresIn }));
}
