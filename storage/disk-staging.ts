// How bytes come into a disk store: written under `incoming/`, hashed on the way and synced, then renamed into place.
import { type FileHandle, open, rename, rm, stat } from 'node:fs/promises';
import { Readable } from 'node:stream';
import {
  type BlobDigest,
  type BlobSource,
  type PutOptions,
  type StagedBlob,
  checkExpected,
  tooLarge,
} from './blob-store.ts';
import { hashBytes, hashFile, readChunks, writeAll, writeHashed } from './bytes.ts';
import { type Disk, finishOrRemove, isMissing, moveToObjects, newIncomingPath, objectPath } from './disk-layout.ts';

export async function stageOnDisk(disk: Disk, source: BlobSource, options: PutOptions): Promise<StagedBlob> {
  if (Buffer.isBuffer(source)) return stageBytes(disk, source, options);
  if (source instanceof Readable) return stageChunks(disk, source, options);
  const adopted = source.adopt ? await moveIn(disk, source.file) : null;
  if (adopted !== null) return stageAdopted(disk, adopted, options);
  const staged = await stageFile(disk, source.file, options);
  if (source.adopt) await rm(source.file, { force: true });
  return staged;
}

/** Bytes in memory are written only if the store lacks them. */
function stageBytes(disk: Disk, bytes: Buffer, options: PutOptions): StagedBlob {
  const sizeBytesMax = options.sizeBytesMax ?? Number.POSITIVE_INFINITY;
  if (bytes.length > sizeBytesMax) throw tooLarge(sizeBytesMax);
  const digest = hashBytes(bytes);
  checkExpected(digest, options);
  const write = async () => {
    if (await isIntact(disk, digest)) return;
    const incoming = newIncomingPath(disk);
    await finishOrRemove(incoming, async () => {
      await writeFile(disk, incoming, (handle) => writeAll(handle, [bytes]));
      await moveToObjects(disk, incoming, digest.sha256);
    });
  };
  return { ...digest, commit: write, discard: () => Promise.resolve() };
}

async function isIntact(disk: Disk, digest: BlobDigest): Promise<boolean> {
  const path = objectPath(disk, digest.sha256);
  try {
    if ((await stat(path)).size !== digest.sizeBytes) return false;
    return (await hashFile(path)).sha256 === digest.sha256;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

async function stageFile(disk: Disk, file: string, options: PutOptions): Promise<StagedBlob> {
  const handle = await open(file, 'r');
  try {
    return await stageChunks(disk, readChunks(handle, true), options);
  } finally {
    await handle.close();
  }
}

async function stageChunks(disk: Disk, chunks: AsyncIterable<Buffer>, options: PutOptions): Promise<StagedBlob> {
  const incoming = newIncomingPath(disk);
  return finishOrRemove(incoming, async () => {
    const digest = await writeFile(disk, incoming, (handle) => writeHashed(chunks, handle, options.sizeBytesMax));
    checkExpected(digest, options);
    return stagedFile(disk, incoming, digest);
  });
}

/** Null when the file lies on another file system and has to be copied. */
async function moveIn(disk: Disk, file: string): Promise<string | null> {
  const incoming = newIncomingPath(disk);
  try {
    await rename(file, incoming);
    return incoming;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EXDEV') return null;
    throw error;
  }
}

async function stageAdopted(disk: Disk, incoming: string, options: PutOptions): Promise<StagedBlob> {
  return finishOrRemove(incoming, async () => {
    const sizeBytesMax = options.sizeBytesMax ?? Number.POSITIVE_INFINITY;
    if ((await stat(incoming)).size > sizeBytesMax) throw tooLarge(sizeBytesMax);
    const [digest] = await Promise.all([hashFile(incoming), syncFile(disk, incoming)]);
    checkExpected(digest, options);
    return stagedFile(disk, incoming, digest);
  });
}

function stagedFile(disk: Disk, incoming: string, digest: BlobDigest): StagedBlob {
  return {
    ...digest,
    commit: () => finishOrRemove(incoming, () => moveToObjects(disk, incoming, digest.sha256)),
    discard: () => rm(incoming, { force: true }),
  };
}

async function writeFile<T>(disk: Disk, path: string, write: (handle: FileHandle) => Promise<T>): Promise<T> {
  const handle = await open(path, 'wx', 0o600);
  try {
    const result = await write(handle);
    if (disk.durable) await handle.datasync();
    return result;
  } finally {
    await handle.close();
  }
}

async function syncFile(disk: Disk, path: string): Promise<void> {
  if (!disk.durable) return;
  const handle = await open(path, 'r+');
  try {
    await handle.datasync();
  } finally {
    await handle.close();
  }
}
