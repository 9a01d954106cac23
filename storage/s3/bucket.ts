// Where an S3 store keeps what: `objects/ab/ab12…` below the prefix, and how its requests are sent.
import {
  CreateBucketCommand,
  HeadBucketCommand,
  ListObjectsV2Command,
  S3Client,
  type S3ClientConfig,
} from '@aws-sdk/client-s3';
import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { getCACertificates } from 'node:tls';
import { requireSha256 } from '#storage/blob-store.ts';
import { type ByteBudget, createByteBudget } from './byte-budget.ts';
import { signByChecksum } from './payload.ts';
import { openQuickly, type SendQuickly } from './quick.ts';
import { createRetries } from './retries.ts';
import { isNamed, troubleOf } from './trouble.ts';

export interface S3StoreOptions {
  /** Null is AWS. */
  endpoint: string | null;
  /** The same server as those reach it who get a link, where that differs. */
  publicEndpoint: string | null;
  region: string;
  bucket: string;
  /** Before every key; empty, or without a slash at either end. */
  prefix: string;
  /** The bucket in the path instead of in the host's name. */
  pathStyle: boolean;
  /** Null leaves finding them to the SDK: environment, profile, instance. */
  credentials: { accessKeyId: string; secretAccessKey: string } | null;
  /** PEM of further authorities to trust. */
  extraCa: string | null;
  /** A folder of this machine for streams whose digest is not known yet. */
  spoolDir: string;
  /** A socket on which nothing moves for so long is given up. Default: 30 s. */
  silenceMs?: number;
}

export interface Bucket {
  name: string;
  prefix: string;
  /** As messages name it. */
  shown: string;
  spoolDir: string;
  client: S3Client;
  /** For the one request that a server may work on for minutes without a sign of life: putting parts together. */
  patient: S3Client;
  /** For getting and putting one object. */
  quickly: SendQuickly;
  /** Signs links; sends nothing. */
  linking: S3Client;
  /** Bytes of parts that are in memory. */
  memory: ByteBudget;
}

const connectMs = 5_000;
const usualSilenceMs = 30_000;
const joinSilenceMs = 15 * 60_000;
const connectionsMax = 64;
const memoryBytes = 64 * 1024 * 1024;

/** @throws StorageUnavailableError, in one sentence, when the bucket can not be listed. */
export async function openBucket(options: S3StoreOptions): Promise<Bucket> {
  const bucket = describeBucket(options);
  return { ...bucket, quickly: await asking(bucket, () => openQuickly(bucket)) };
}

/** Makes the bucket where there is none, for a server of one's own. Safe to repeat. @throws StorageUnavailableError */
export async function makeBucket(options: S3StoreOptions): Promise<'made' | 'there'> {
  const bucket = describeBucket(options);
  try {
    await bucket.client.send(new HeadBucketCommand({ Bucket: bucket.name }));
    return 'there';
  } catch (error) {
    if (!isNamed(error, 'NotFound', 'NoSuchBucket')) throw troubleOf(bucket, error);
  }
  await asking(bucket, () => bucket.client.send(new CreateBucketCommand({ Bucket: bucket.name })));
  return 'made';
}

function describeBucket(options: S3StoreOptions): Omit<Bucket, 'quickly'> {
  const ca = options.extraCa === null ? {} : { ca: [...getCACertificates('default'), options.extraCa] };
  const agents = {
    httpAgent: new HttpAgent({ keepAlive: true, maxSockets: connectionsMax }),
    httpsAgent: new HttpsAgent({ keepAlive: true, maxSockets: connectionsMax, ...ca }),
  };
  const shared: S3ClientConfig = {
    region: options.region,
    forcePathStyle: options.pathStyle,
    ...(options.endpoint === null ? {} : { endpoint: options.endpoint }),
    ...(options.credentials === null ? {} : { credentials: options.credentials }),
    retryStrategy: createRetries(),
    // Every put brings its own checksum, every full read is hashed by us: the SDK has nothing to add.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    // It would cost a round trip for each part.
    expectContinueHeader: false,
  };
  const client = (socketTimeout: number, more: S3ClientConfig = {}) =>
    signByChecksum(
      new S3Client({
        ...shared,
        requestHandler: { ...agents, connectionTimeout: connectMs, socketTimeout },
        ...more,
      }),
    );
  const silenceMs = options.silenceMs ?? usualSilenceMs;
  const publicEndpoint = options.publicEndpoint ?? options.endpoint;
  return {
    name: options.bucket,
    prefix: options.prefix === '' ? '' : `${options.prefix}/`,
    shown: `bucket "${options.bucket}" at ${options.endpoint ?? `AWS ${options.region}`}`,
    spoolDir: options.spoolDir,
    client: client(silenceMs),
    patient: client(joinSilenceMs),
    linking: client(silenceMs, publicEndpoint === null ? {} : { endpoint: publicEndpoint }),
    memory: createByteBudget(memoryBytes),
  };
}

export function objectsPrefix(bucket: Bucket): string {
  return `${bucket.prefix}objects/`;
}

/** What names one object in every request. */
export function objectOf(bucket: Bucket, sha256: string): { Bucket: string; Key: string } {
  return {
    Bucket: bucket.name,
    Key: `${objectsPrefix(bucket)}${requireSha256(sha256).slice(0, 2)}/${sha256}`,
  };
}

/** Does the request and says in plain words what is wrong with the server, the bucket or the credentials. */
export async function asking<T>(bucket: Pick<Bucket, 'shown'>, request: () => Promise<T>): Promise<T> {
  try {
    return await request();
  } catch (error) {
    throw troubleOf(bucket, error);
  }
}

/** @throws StorageUnavailableError when the bucket is not there or may not be listed. */
export async function requireBucket(bucket: Bucket): Promise<void> {
  const command = new ListObjectsV2Command({ Bucket: bucket.name, Prefix: objectsPrefix(bucket), MaxKeys: 1 });
  await asking(bucket, () => bucket.client.send(command));
}
