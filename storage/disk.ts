// Blobs as files below one directory of one file system.
import { createHash, randomUUID } from 'node:crypto';
import { constants, createReadStream } from 'node:fs';
import { chmod, copyFile, mkdir, open, opendir, readdir, rename, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import {
  type BlobDigest,
  type BlobStore,
  type ByteRange,
  type StoredBlob,
  blobCorrupt,
  blobMissing,
  isSha256,
} from './blob-store.ts';
import { hashFile, readChunks } from './bytes.ts';
import { type Disk, finishOrRemove, isMissing, objectPath, sweepFolder } from './disk-layout.ts';
import { stageOnDisk } from './disk-staging.ts';

export interface DiskStoreOptions {
  root: string;
  /** `rename-only` skips every fsync: for stores that may be lost with the machine, such as those of tests. */
  durability?: 'fsync' | 'rename-only';
}

/** Creates what is missing below `root`. */
export async function createDiskStore(options: DiskStoreOptions): Promise<BlobStore> {
  const disk: Disk = { root: options.root, durable: options.durability !== 'rename-only', shards: new Set() };
  await mkdir(join(disk.root, 'objects'), { recursive: true, mode: 0o700 });
  await mkdir(join(disk.root, 'incoming'), { recursive: true, mode: 0o700 });
  return {
    stage: (source, putOptions = {}) => stageOnDisk(disk, source, putOptions),
    put: async (source, putOptions = {}) => {
      const staged = await stageOnDisk(disk, source, putOptions);
      await staged.commit();
      return { sha256: staged.sha256, sizeBytes: staged.sizeBytes };
    },
    get: (sha256, range) => get(disk, sha256, range),
    copyTo: (sha256, path, copyOptions) => copyTo(disk, sha256, path, copyOptions?.mode ?? 0o644),
    stat: (sha256) => statBlob(disk, sha256),
    delete: (sha256) => remove(objectPath(disk, sha256)),
    link: () => Promise.resolve(null),
    list: () => list(disk),
    // A put that is alive writes to its file, so a file untouched for long belongs to none.
    sweep: (olderThanMs) => sweepFolder(join(disk.root, 'incoming'), olderThanMs),
  };
}

async function get(disk: Disk, sha256: string, range?: ByteRange): Promise<Readable> {
  const found = await statBlob(disk, sha256);
  if (found === null) throw blobMissing(sha256);
  const path = objectPath(disk, sha256);
  if (range !== undefined) return createReadStream(path, { start: range.start, end: range.end });
  return Readable.from(verifiedChunks(path, sha256), { objectMode: false, highWaterMark: 1024 * 1024 });
}

/** Opens the file only when somebody reads, so that a stream nobody reads holds nothing open. */
async function* verifiedChunks(path: string, sha256: string): AsyncGenerator<Buffer> {
  const handle = await open(path, 'r');
  try {
    const hash = createHash('sha256');
    for await (const chunk of readChunks(handle, false)) {
      hash.update(chunk);
      yield chunk;
    }
    const found = hash.digest('hex');
    if (found !== sha256) throw blobCorrupt(sha256, found);
  } finally {
    await handle.close();
  }
}

/** Shares the bytes where the file system can. The copy is verified, not the original: it is what will be used. */
async function copyTo(disk: Disk, sha256: string, path: string, mode: number): Promise<BlobDigest> {
  if ((await statBlob(disk, sha256)) === null) throw blobMissing(sha256);
  const partial = `${path}.${randomUUID()}.partial`;
  return finishOrRemove(partial, async () => {
    await copyFile(objectPath(disk, sha256), partial, constants.COPYFILE_FICLONE);
    const digest = await hashFile(partial);
    if (digest.sha256 !== sha256) throw blobCorrupt(sha256, digest.sha256);
    await chmod(partial, mode);
    await rename(partial, path);
    return digest;
  });
}

async function statBlob(disk: Disk, sha256: string): Promise<StoredBlob | null> {
  try {
    const found = await stat(objectPath(disk, sha256));
    return { sha256, sizeBytes: found.size, modifiedAt: found.mtime };
  } catch (error) {
    if (isMissing(error)) return null;
    throw error;
  }
}

async function remove(path: string): Promise<boolean> {
  try {
    await unlink(path);
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

async function* list(disk: Disk): AsyncGenerator<StoredBlob> {
  for (const shard of await readdir(join(disk.root, 'objects'))) {
    for await (const entry of await opendir(join(disk.root, 'objects', shard))) {
      const blob = isSha256(entry.name) ? await statBlob(disk, entry.name) : null;
      if (blob !== null) yield blob;
    }
  }
}
