// How bytes come into a bucket: hashed first, because the name is the digest, then sent under that name. A large file's
// parts go up while it is staged, so that its commit is one short request.
import { PutObjectCommand } from '@aws-sdk/client-s3';
import { readFile, rm, stat } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type BlobDigest,
  type BlobSource,
  type PutOptions,
  type StagedBlob,
  checkExpected,
  tooLarge,
} from '#storage/blob-store.ts';
import { hashBytes, hashFile } from '#storage/bytes.ts';
import { type Bucket, asking, objectOf } from './bucket.ts';
import { abortUpload, joinParts, partBytesMin, type Upload, uploadParts } from './multipart.ts';
import { stateInBucket, statInBucket } from './read.ts';
import { memoryBytesMax, takeIn } from './spool.ts';
import { isNamed, isThereAlready, statusOf, troubleOf } from './trouble.ts';

/** Answers 409 to puts of one name at the same moment, after which AWS wants the request again. */
const conflictsMax = 5;
const conflictPauseMs = 100;

/** A file that is to be stored; one that is `ours` is removed afterwards, and nobody else writes to it. */
interface Source {
  file: string;
  ours: boolean;
  /** Null when nobody has read it yet. */
  digest: BlobDigest | null;
}

export async function stageInBucket(bucket: Bucket, source: BlobSource, options: PutOptions): Promise<StagedBlob> {
  if (Buffer.isBuffer(source)) return stageBytes(bucket, source, options);
  if (source instanceof Readable) {
    const taken = await takeIn(bucket.spoolDir, source, options);
    if (Buffer.isBuffer(taken)) return stageBytes(bucket, taken, options);
    return orRemove({ ...taken, ours: true }, (file) => stageFile(bucket, file, options));
  }
  const given = { file: source.file, ours: source.adopt === true, digest: null };
  return orRemove(given, (file) => stageFile(bucket, file, options));
}

async function orRemove(source: Source, stage: (source: Source) => Promise<StagedBlob>): Promise<StagedBlob> {
  try {
    return await stage(source);
  } catch (error) {
    await forget(source);
    throw error;
  }
}

async function forget({ file, ours }: Source): Promise<void> {
  if (ours) await rm(file, { force: true });
}

function stageBytes(bucket: Bucket, bytes: Buffer, options: PutOptions): StagedBlob {
  const sizeBytesMax = options.sizeBytesMax ?? Number.POSITIVE_INFINITY;
  if (bytes.length > sizeBytesMax) throw tooLarge(sizeBytesMax);
  const digest = hashBytes(bytes);
  checkExpected(digest, options);
  return { ...digest, commit: () => putBytes(bucket, digest, bytes), discard: () => Promise.resolve() };
}

async function stageFile(bucket: Bucket, source: Source, options: PutOptions): Promise<StagedBlob> {
  const { size } = await stat(source.file);
  const sizeBytesMax = options.sizeBytesMax ?? Number.POSITIVE_INFINITY;
  if (size > sizeBytesMax) throw tooLarge(sizeBytesMax);
  if (size > partBytesMin) return await stageLarge(bucket, source, size, options);
  if (size <= memoryBytesMax) {
    const staged = stageBytes(bucket, await readFile(source.file), options);
    await forget(source);
    return staged;
  }
  const digest = source.digest ?? (await hashFile(source.file));
  checkExpected(digest, options);
  const commit = async () => {
    const giveBack = await bucket.memory.take(digest.sizeBytes);
    try {
      const bytes = await readFile(source.file);
      if (hashBytes(bytes).sha256 !== digest.sha256) throw changed(digest);
      await putBytes(bucket, digest, bytes);
    } finally {
      giveBack();
    }
    await forget(source);
  };
  return { ...digest, commit, discard: () => forget(source) };
}

/** An announced digest is believed until all parts are up: hashing and sending are one pass then. */
async function stageLarge(bucket: Bucket, source: Source, sizeBytes: number, options: PutOptions): Promise<StagedBlob> {
  const announced = source.digest?.sha256 ?? options.sha256;
  const digest = { sha256: announced ?? (await hashFile(source.file)).sha256, sizeBytes };
  const state = await stateInBucket(bucket, digest);
  if (state === 'intact' && source.digest === null && announced !== undefined)
    checkExpected(await hashFile(source.file), options);
  const send = async () => {
    const upload = await uploadParts(bucket, digest.sha256, source.file);
    if (upload.sha256 === digest.sha256) return upload;
    await abortUpload(bucket, upload);
    checkExpected(upload, options);
    throw changed(digest);
  };
  let upload: Upload | null = state === 'intact' ? null : await send();
  return {
    ...digest,
    commit: async () => {
      // It was there when it was staged, and may have been deleted since.
      if (upload === null && (await statInBucket(bucket, digest.sha256)) === null) upload = await send();
      if (upload !== null) await join(bucket, upload, state === 'damaged');
      upload = null;
      await forget(source);
    },
    discard: async () => {
      if (upload !== null) await abortUpload(bucket, upload);
      await forget(source);
    },
  };
}

async function join(bucket: Bucket, upload: Upload, overwrite: boolean): Promise<void> {
  try {
    await joinParts(bucket, upload, overwrite);
  } catch (error) {
    // Somebody else has put the blob, or the answer to an earlier attempt of this request was lost.
    if (!isThereAlready(error) && !isNamed(error, 'NoSuchUpload')) throw troubleOf(bucket, error);
    const state = await stateInBucket(bucket, upload);
    if (state === 'intact') await abortUpload(bucket, upload);
    else if (isThereAlready(error)) await asking(bucket, () => joinParts(bucket, upload, true));
    else throw troubleOf(bucket, error);
  }
}

/** What is there already is read, and replaced if it is damaged. */
async function putBytes(bucket: Bucket, digest: BlobDigest, bytes: Buffer): Promise<void> {
  const put = (overwrite: boolean) =>
    bucket.client.send(
      new PutObjectCommand({
        ...objectOf(bucket, digest.sha256),
        Body: bytes,
        ContentLength: bytes.length,
        ContentType: 'application/octet-stream',
        ChecksumSHA256: Buffer.from(digest.sha256, 'hex').toString('base64'),
        ...(overwrite ? {} : { IfNoneMatch: '*' }),
      }),
    );
  const quick = await putQuickly(bucket, digest, bytes);
  if (quick === 'stored') return;
  for (let conflicts = 0; quick !== 'there'; conflicts += 1) {
    try {
      await put(false);
      return;
    } catch (error) {
      if (isThereAlready(error)) break;
      if (statusOf(error) !== 409 || conflicts === conflictsMax) throw troubleOf(bucket, error);
      await sleep(conflictPauseMs * (0.5 + Math.random()));
    }
  }
  if ((await stateInBucket(bucket, digest)) !== 'intact') await asking(bucket, () => put(true));
}

async function putQuickly(
  bucket: Bucket,
  { sha256 }: BlobDigest,
  bytes: Buffer,
): Promise<'stored' | 'there' | 'ask again'> {
  const answer = await bucket.quickly({
    method: 'PUT',
    key: objectOf(bucket, sha256).Key,
    headers: {
      'content-length': String(bytes.length),
      'content-type': 'application/octet-stream',
      'x-amz-content-sha256': sha256,
      'x-amz-checksum-sha256': Buffer.from(sha256, 'hex').toString('base64'),
      'if-none-match': '*',
    },
    body: bytes,
  });
  answer?.body.resume();
  if (answer?.status === 200) return 'stored';
  return answer?.status === 412 ? 'there' : 'ask again';
}

function changed({ sha256 }: BlobDigest): Error {
  return new Error(`The file had sha256 ${sha256} and changed while it was stored; store it again.`);
}
