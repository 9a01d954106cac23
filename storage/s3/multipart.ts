// Large files go up in parts, side by side. Nothing of them is visible before they are put together.
import {
  AbortMultipartUploadCommand,
  type CompletedPart,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  ListMultipartUploadsCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { crc32 } from 'node:zlib';
import type { BlobDigest } from '#storage/blob-store.ts';
import { type Bucket, asking, objectOf, objectsPrefix } from './bucket.ts';
import { isNamed, troubleOf } from './trouble.ts';

/** A file up to this size is one request. */
export const partBytesMin = 8 * 1024 * 1024;
/** S3 takes no more parts than this, so that larger files have larger parts. */
const partsMax = 10_000;
const partsAtOnce = 4;

export interface Upload extends BlobDigest {
  key: { Bucket: string; Key: string };
  uploadId: string;
  parts: CompletedPart[];
}

/** Sends the file under the blob's name; the digest answered is of exactly what was sent. */
export async function uploadParts(bucket: Bucket, sha256: string, file: string): Promise<Upload> {
  const key = objectOf(bucket, sha256);
  const handle = await open(file, 'r');
  try {
    const begun = await asking(bucket, () =>
      bucket.client.send(new CreateMultipartUploadCommand({ ...key, ChecksumAlgorithm: 'CRC32' })),
    );
    const upload = { key, uploadId: begun.UploadId ?? '' };
    try {
      return { ...upload, ...(await sendParts(bucket, upload, handle)) };
    } catch (error) {
      await abortUpload(bucket, upload);
      throw troubleOf(bucket, error);
    }
  } finally {
    await handle.close();
  }
}

async function sendParts(
  bucket: Bucket,
  { key, uploadId }: Pick<Upload, 'key' | 'uploadId'>,
  handle: FileHandle,
): Promise<BlobDigest & { parts: CompletedPart[] }> {
  const { size } = await handle.stat();
  const partBytes = Math.max(partBytesMin, Math.ceil(size / partsMax));
  const hash = createHash('sha256');
  const parts: CompletedPart[] = [];
  const underWay = new Set<Promise<void>>();
  let failure: { error: unknown } | null = null;
  const send = async (number: number, bytes: Buffer, giveBack: () => void) => {
    try {
      parts[number - 1] = await sendPart(bucket, { ...key, UploadId: uploadId, PartNumber: number }, bytes);
    } catch (error) {
      failure ??= { error };
    } finally {
      giveBack();
    }
  };
  for (let at = 0; at < size && failure === null; at += partBytes) {
    const length = Math.min(partBytes, size - at);
    const giveBack = await bucket.memory.take(length);
    const bytes = await readPart(handle, at, length).catch((error: unknown) => {
      failure ??= { error };
      giveBack();
      return null;
    });
    if (bytes === null) break;
    hash.update(bytes);
    const sending: Promise<void> = send(at / partBytes + 1, bytes, giveBack).then(() => void underWay.delete(sending));
    underWay.add(sending);
    if (underWay.size >= partsAtOnce) await Promise.race(underWay);
  }
  // An upload is aborted only when none of its parts is on its way any more: a late one would stay for ever.
  await Promise.all(underWay);
  throwIf(failure);
  return { sha256: hash.digest('hex'), sizeBytes: size, parts };
}

async function sendPart(
  bucket: Bucket,
  part: { Bucket: string; Key: string; UploadId: string; PartNumber: number },
  bytes: Buffer,
): Promise<CompletedPart> {
  const checksum = Buffer.alloc(4);
  checksum.writeUInt32BE(crc32(bytes));
  const ChecksumCRC32 = checksum.toString('base64');
  const command = new UploadPartCommand({ ...part, Body: bytes, ContentLength: bytes.length, ChecksumCRC32 });
  const { ETag } = await bucket.client.send(command);
  return { ETag, PartNumber: part.PartNumber, ChecksumCRC32 };
}

async function readPart(handle: FileHandle, at: number, length: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafeSlow(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await handle.read(bytes, filled, length - filled, at + filled);
    if (bytesRead === 0) throw new Error('The file became shorter while it was stored; store it again.');
    filled += bytesRead;
  }
  return bytes;
}

/** Makes the object visible. Without `overwrite` the server refuses with 412 when there is one of this name. */
export async function joinParts(bucket: Bucket, upload: Upload, overwrite: boolean): Promise<void> {
  const command = new CompleteMultipartUploadCommand({
    ...upload.key,
    UploadId: upload.uploadId,
    MultipartUpload: { Parts: upload.parts },
    ...(overwrite ? {} : { IfNoneMatch: '*' }),
  });
  await bucket.patient.send(command);
}

/** What can not be aborted now, because the server is away, is left to the sweep. */
export async function abortUpload(bucket: Bucket, { key, uploadId }: Pick<Upload, 'key' | 'uploadId'>): Promise<void> {
  await bucket.client.send(new AbortMultipartUploadCommand({ ...key, UploadId: uploadId })).catch(() => undefined);
}

/** Aborts uploads that began longer ago than this; answers how many. */
export async function sweepUploads(bucket: Bucket, olderThanMs: number): Promise<number> {
  const { client, name: Bucket } = bucket;
  let removed = 0;
  let at: { KeyMarker?: string | undefined; UploadIdMarker?: string | undefined } | null = {};
  while (at !== null) {
    const command: ListMultipartUploadsCommand = new ListMultipartUploadsCommand({
      Bucket,
      Prefix: objectsPrefix(bucket),
      ...at,
    });
    const page = await asking(bucket, () => client.send(command));
    for (const { Key, UploadId, Initiated } of page.Uploads ?? []) {
      if (Date.now() - (Initiated?.getTime() ?? Date.now()) < olderThanMs) continue;
      const abort = new AbortMultipartUploadCommand({ Bucket, Key, UploadId });
      await asking(bucket, () => client.send(abort)).then(
        () => (removed += 1),
        (error: Error) => {
          // It was put together or aborted meanwhile.
          if (!isNamed(error.cause, 'NoSuchUpload')) throw error;
        },
      );
    }
    at = page.IsTruncated === true ? { KeyMarker: page.NextKeyMarker, UploadIdMarker: page.NextUploadIdMarker } : null;
  }
  return removed;
}

function throwIf(failure: { error: unknown } | null): void {
  if (failure !== null) throw failure.error;
}
