// What every blob store promises: bytes named by their sha256. Rows about blobs live in `db`, never here.
//
// 1. Nothing is visible under its name before it is complete; a failed put leaves nothing that a reader could see.
// 2. What a put returned survives a power loss, unless the store was told otherwise.
// 3. A full read whose bytes do not match their name fails with `blob-corrupt`. A range can not be verified.
// 4. Putting what is there already is harmless, and heals a copy that was damaged.
// 5. Any number of processes may use one store at once.
import type { Readable } from 'node:stream';
import { DomainError } from '#core/errors.ts';

/** Lower-case hexadecimal. */
const sha256Pattern = /^[0-9a-f]{64}$/;

export interface BlobDigest {
  sha256: string;
  sizeBytes: number;
}

export interface StoredBlob extends BlobDigest {
  modifiedAt: Date;
}

/**
 * `adopt` gives the file away: the store may move it instead of copying it, and nobody may write to it any more.
 * Without it the file is only read.
 */
export type BlobSource = Readable | Buffer | { file: string; adopt?: boolean };

export interface PutOptions {
  /** The digest the bytes must have; other bytes are refused with `blob-corrupt`. */
  sha256?: string;
  /** More bytes than this are refused with `payload-too-large`. */
  sizeBytesMax?: number;
}

/** Bytes that are complete and hashed but not visible yet. Exactly one of the two functions is to be called. */
export interface StagedBlob extends BlobDigest {
  /** Makes the bytes visible under their name. */
  commit(): Promise<void>;
  discard(): Promise<void>;
}

/** Inclusive byte positions, as in HTTP. */
export interface ByteRange {
  start: number;
  end: number;
}

export interface LinkOptions {
  /** Headers that the download is answered with; the caller sees to it that no browser shows or runs the bytes. */
  disposition: string;
  mediaType: string;
  expiresInMs: number;
}

export interface BlobStore {
  stage(source: BlobSource, options?: PutOptions): Promise<StagedBlob>;
  put(source: BlobSource, options?: PutOptions): Promise<BlobDigest>;
  /** Fails with `blob-missing` at once; with `blob-corrupt` at the end of a full read, as an error of the stream. */
  get(sha256: string, range?: ByteRange): Promise<Readable>;
  /** A private, verified copy at `path`, which appears only when it is complete. `mode` defaults to 0o644. */
  copyTo(sha256: string, path: string, options?: { mode?: number }): Promise<BlobDigest>;
  /** Null when there is no such blob. Does not read the bytes. */
  stat(sha256: string): Promise<StoredBlob | null>;
  /** True when there was something to delete. Callers hold the blob's row, see `collect.ts`. */
  delete(sha256: string): Promise<boolean>;
  /**
   * An address from which anybody who has it may download the blob until it expires; null from a store that gives none.
   * Whether there is such a blob is not looked at.
   */
  link(sha256: string, options: LinkOptions): Promise<string | null>;
  /** In no particular order; blobs that come and go meanwhile may be left out. */
  list(): AsyncIterable<StoredBlob>;
  /** Removes what puts that died left behind longer ago than this; answers how many things that were. */
  sweep(olderThanMs: number): Promise<number>;
}

/** The disk has no room. Not a refusal: the caller may try again once there is. */
export class StorageFullError extends Error {
  readonly code = 'ENOSPC';

  constructor(where: string, cause: unknown) {
    super(
      `The blob store has no room left at ${where}, so nothing was stored. Free space there or give it a larger disk, then try again.`,
      { cause },
    );
    this.name = 'StorageFullError';
  }
}

/** The store can not be reached or does not let us in. Not a refusal: the caller may try again. */
export class StorageUnavailableError extends Error {
  /** It may come back by itself: nobody answered, or the server has trouble of its own. */
  readonly isAway: boolean;

  constructor(message: string, cause: unknown, isAway: boolean) {
    super(message, { cause });
    this.name = 'StorageUnavailableError';
    this.isAway = isAway;
  }
}

export function isSha256(text: string): boolean {
  return sha256Pattern.test(text);
}

/** A digest becomes part of a path or key only after this. */
export function requireSha256(text: string): string {
  if (isSha256(text)) return text;
  throw new DomainError(
    'invalid-request',
    `"${text.slice(0, 80)}" is not a sha256. Expected 64 lower-case hexadecimal digits.`,
  );
}

export function blobMissing(sha256: string): DomainError {
  return new DomainError('blob-missing', `The blob store has no ${sha256}. Upload it, or restore it from a backup.`);
}

export function blobCorrupt(sha256: string, found: string): DomainError {
  return new DomainError(
    'blob-corrupt',
    `The bytes of blob ${sha256} hash to ${found}, so they were not used. Upload the blob again, or restore it from a backup.`,
  );
}

/** Refuses other bytes than the ones a caller announced. */
export function checkExpected(found: BlobDigest, options: PutOptions): void {
  if (options.sha256 === undefined || options.sha256 === found.sha256) return;
  throw new DomainError(
    'blob-corrupt',
    `Expected bytes with sha256 ${options.sha256}, received ${found.sizeBytes} bytes with ${found.sha256}. Nothing was stored; send the file again.`,
  );
}

export function tooLarge(sizeBytesMax: number): DomainError {
  return new DomainError(
    'payload-too-large',
    `The upload is larger than ${sizeBytesMax} bytes. Nothing was stored; send less, or ask the operator for a higher limit.`,
  );
}
