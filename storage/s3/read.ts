// Reading from a bucket: a body that breaks off goes on where it stopped, and a full read is verified.
import { GetObjectCommand, HeadObjectCommand } from '@aws-sdk/client-s3';
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { DomainError } from '#core/errors.ts';
import { type BlobDigest, type ByteRange, type StoredBlob, blobCorrupt, blobMissing } from '#storage/blob-store.ts';
import { type Bucket, objectOf, requireBucket } from './bucket.ts';
import { isNamed, statusOf, troubleOf } from './trouble.ts';

/** Breaks of one body without a single byte between them; each further one is waited for twice as long. */
const breaksMax = 5;
const firstPauseMs = 100;

interface Body {
  stream: Readable;
  /** First byte of the blob that is in it, and how many there are. */
  start: number;
  length: number;
  /** Of the whole blob. */
  sizeBytes: number;
}

/** Null when the range lies behind the end. @throws blob-missing */
export async function openBody(bucket: Bucket, sha256: string, range?: ByteRange): Promise<Body | null> {
  const Range = range === undefined ? undefined : `bytes=${range.start}-${range.end}`;
  const quick = await openQuickBody(bucket, sha256, range, Range);
  if (quick !== null) return quick;
  try {
    const answer = await bucket.client.send(new GetObjectCommand({ ...objectOf(bucket, sha256), Range }));
    const stream = answer.Body as Readable;
    // The reader gets the error from the iterator; one that comes before it reads must not end the process.
    stream.on('error', () => undefined);
    return bodyOf(stream, range, answer.ContentLength ?? 0, answer.ContentRange);
  } catch (error) {
    if (isNamed(error, 'NoSuchKey')) throw blobMissing(sha256);
    if (statusOf(error) === 416) return null;
    throw troubleOf(bucket, error);
  }
}

const emptyPayload = createHash('sha256').digest('hex');

async function openQuickBody(
  bucket: Bucket,
  sha256: string,
  range: ByteRange | undefined,
  rangeHeader: string | undefined,
): Promise<Body | null> {
  const answer = await bucket.quickly({
    method: 'GET',
    key: objectOf(bucket, sha256).Key,
    headers: {
      'x-amz-content-sha256': emptyPayload,
      ...(rangeHeader === undefined ? {} : { range: rangeHeader }),
    },
  });
  if (answer?.status === 200 || answer?.status === 206) {
    const { body, headers } = answer;
    return bodyOf(body, range, Number(headers['content-length'] ?? 0), headers['content-range']);
  }
  answer?.body.destroy();
  return null;
}

function bodyOf(stream: Readable, range: ByteRange | undefined, length: number, contentRange?: string): Body {
  const [, start, total] = /^bytes (\d+)-\d+\/(\d+)$/.exec(contentRange ?? '') ?? [];
  if (start === undefined && range !== undefined && range.start > 0) {
    stream.destroy();
    throw new Error('the server ignored the range that was asked for');
  }
  return { stream, start: Number(start ?? 0), length, sizeBytes: Number(total ?? length) };
}

/** The bytes of the body in order, each exactly once, over as many connections as it takes. */
export async function* bodyChunks(bucket: Bucket, sha256: string, first: Body): AsyncGenerator<Buffer> {
  const end = first.start + first.length - 1;
  let body: Body | null = first;
  let reached = 0;
  let breaks = 0;
  try {
    while (reached < first.length) {
      try {
        body ??= await openBody(bucket, sha256, { start: first.start + reached, end });
        if (body === null) throw new Error('the object has become shorter');
        for await (const chunk of body.stream as AsyncIterable<Buffer>) {
          const wanted = chunk.subarray(0, first.length - reached);
          reached += wanted.length;
          breaks = 0;
          if (wanted.length > 0) yield wanted;
        }
        if (reached < first.length) throw new Error(`the body ended after ${reached} of ${first.length} bytes`);
      } catch (error) {
        breaks += 1;
        if (error instanceof DomainError || breaks > breaksMax) throw troubleOf(bucket, error);
        body?.stream.destroy();
        body = null;
        await sleep(firstPauseMs * 2 ** (breaks - 1) * (0.5 + Math.random()));
      }
    }
  } finally {
    body?.stream.destroy();
  }
}

async function* verified(chunks: AsyncIterable<Buffer>, sha256: string): AsyncGenerator<Buffer> {
  const hash = createHash('sha256');
  for await (const chunk of chunks) {
    hash.update(chunk);
    yield chunk;
  }
  const found = hash.digest('hex');
  if (found !== sha256) throw blobCorrupt(sha256, found);
}

export async function getFromBucket(bucket: Bucket, sha256: string, range?: ByteRange): Promise<Readable> {
  const body = await openBody(bucket, sha256, range);
  if (body === null) return Readable.from([], { objectMode: false });
  const chunks = bodyChunks(bucket, sha256, body);
  const stream = Readable.from(range === undefined ? verified(chunks, sha256) : chunks, {
    objectMode: false,
    highWaterMark: 1024 * 1024,
  });
  // A generator that nobody pulled has no `finally`: the connection of a stream that is closed unread is given back here.
  stream.once('close', () => body.stream.destroy());
  return stream;
}

export async function statInBucket(bucket: Bucket, sha256: string): Promise<StoredBlob | null> {
  try {
    const found = await bucket.client.send(new HeadObjectCommand(objectOf(bucket, sha256)));
    return { sha256, sizeBytes: found.ContentLength ?? 0, modifiedAt: found.LastModified ?? new Date() };
  } catch (error) {
    if (statusOf(error) !== 404) throw troubleOf(bucket, error);
    // An answer to HEAD has no words: a bucket that is gone looks like an object that is not there.
    await requireBucket(bucket);
    return null;
  }
}

/** Reads the bytes: their metadata may say anything. */
export async function stateInBucket(bucket: Bucket, digest: BlobDigest): Promise<'intact' | 'damaged' | 'missing'> {
  const hash = createHash('sha256');
  try {
    const body = await openBody(bucket, digest.sha256);
    if (body?.sizeBytes !== digest.sizeBytes) {
      body?.stream.destroy();
      return 'damaged';
    }
    for await (const chunk of bodyChunks(bucket, digest.sha256, body)) hash.update(chunk);
  } catch (error) {
    if (error instanceof DomainError && error.code === 'blob-missing') return 'missing';
    throw error;
  }
  return hash.digest('hex') === digest.sha256 ? 'intact' : 'damaged';
}
