// What an archive holds, member by member, as digests. The archive may come from anywhere: nothing of it is unpacked to
// disk, no member's name is used as a path, and everything is counted before it is believed.
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { crc32, createGunzip } from 'node:zlib';
import { extract } from 'tar-stream';
import { openPromise } from 'yauzl';
import { isNormalised, normalForm, normalisedBytesMax } from './normal-form.ts';

/** Members beyond this, or unpacked bytes beyond what a model of this size has, are an attack or a mistake. */
const membersMax = 100_000;
const unpackedBytesMin = 4 * 1024 ** 3;
const unpackedFactorMax = 16;
/** Of all names together. */
const nameBytesMax = 32 * 1024 ** 2;

export interface Archive {
  kind: 'zip' | 'tar' | 'tar.gz' | 'gzip';
  /** Of everything that counts of the member: its kind, its bytes, where a link leads. */
  members: Map<string, string>;
  /** For the verdict's notes. */
  leftOut: string[];
}

export interface ArchiveCaps {
  membersMax?: number;
  unpackedBytesMax?: number;
}

/** A sentence instead when the file is not an archive that can be compared by its members; null when it is none at all. */
export async function readArchive(
  file: string,
  name: string,
  caps: ArchiveCaps = {},
): Promise<Archive | string | null> {
  const kind = await kindOf(file);
  if (kind === null) return null;
  const { size } = await stat(file);
  const found = new Members(name, {
    membersMax: caps.membersMax ?? membersMax,
    unpackedBytesMax: caps.unpackedBytesMax ?? Math.max(unpackedBytesMin, unpackedFactorMax * size),
  });
  try {
    return await readers[kind](file, found);
  } catch (error) {
    if (!isOfTheArchive(error)) throw error;
    return `as a ${kind} archive it can not be read (${error.message.split('\n')[0]})`;
  }
}

const readers = { zip: readZip, tar: readTar, gzip: readGzip };
const zipLeftOut = 'dates, order, permissions, compression and comments in zip archives';
const tarLeftOut = 'dates, order, owners and permissions in tar archives';
const gzipLeftOut = 'the time and name in gzip headers, and the compression';

/** By the first bytes: what a loader would take the file for. */
async function kindOf(file: string): Promise<keyof typeof readers | null> {
  const handle = await open(file, 'r');
  try {
    const { buffer } = await handle.read(Buffer.alloc(512), 0, 512, 0);
    const magic = buffer.toString('latin1', 0, 4);
    if (magic === 'PK\u0003\u0004' || magic === 'PK\u0005\u0006') return 'zip';
    if (magic.startsWith('\u001f\u008b')) return 'gzip';
    return isTar(buffer) ? 'tar' : null;
  } finally {
    await handle.close();
  }
}

function isTar(head: Buffer): boolean {
  return head.toString('latin1', 257, 262) === 'ustar';
}

/** A fault of the disk has the system call that failed; everything else comes from the bytes. */
function isOfTheArchive(error: unknown): error is Error {
  return error instanceof Error && !('syscall' in error);
}

class Members {
  readonly digests = new Map<string, string>();
  readonly leftOut = new Set<string>();
  private readonly archive: string;
  private readonly caps: Required<ArchiveCaps>;
  private readonly occurrences = new Map<string, number>();
  private unpackedBytes = 0;
  private nameBytes = 0;
  private count = 0;

  constructor(archive: string, caps: Required<ArchiveCaps>) {
    this.archive = archive;
    this.caps = caps;
  }

  /** The same name again is another member: which of them a loader takes depends on their order among themselves. */
  async add(name: string, about: string, content: AsyncIterable<Buffer>): Promise<void> {
    this.count += 1;
    if (this.count > this.caps.membersMax) throw new Error(`it has more than ${this.caps.membersMax} members`);
    this.nameBytes += Buffer.byteLength(name);
    if (this.nameBytes > nameBytesMax) throw new Error(`its members' names have more than ${nameBytesMax} bytes`);
    const occurrence = (this.occurrences.get(name) ?? 0) + 1;
    this.occurrences.set(name, occurrence);
    const unique = occurrence === 1 ? name : `${name}\0${occurrence}`;
    this.digests.set(unique, `${about} ${await this.digestOf(name, content)}`);
  }

  /** Counts as it goes, so that a bomb ends at the limit. */
  async *counted(content: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const chunk of content) {
      this.unpackedBytes += chunk.length;
      if (this.unpackedBytes > this.caps.unpackedBytesMax)
        throw new Error(`it unpacks to more than ${this.caps.unpackedBytesMax} bytes`);
      yield chunk;
    }
  }

  private async digestOf(name: string, content: AsyncIterable<Buffer>): Promise<string> {
    const hash = createHash('sha256');
    const kept: Buffer[] | null = isNormalised(name, this.archive) ? [] : null;
    let sizeBytes = 0;
    for await (const chunk of content) {
      sizeBytes += chunk.length;
      hash.update(chunk);
      if (kept !== null && sizeBytes <= normalisedBytesMax) kept.push(chunk);
    }
    const normal = kept === null || sizeBytes > normalisedBytesMax ? null : normalForm(name, Buffer.concat(kept));
    if (normal === null) return `${sizeBytes} ${hash.digest('hex')}`;
    this.leftOut.add(normal.leftOut);
    return createHash('sha256').update(normal.text).digest('hex');
  }

  finish(kind: Archive['kind'], leftOut: string): Archive {
    return { kind, members: this.digests, leftOut: [leftOut, ...this.leftOut] };
  }
}

async function readZip(file: string, found: Members): Promise<Archive> {
  // Names stay bytes: yauzl would refuse some, and here none is ever a path.
  const zip = await openPromise(file, { lazyEntries: true, decodeStrings: false, autoClose: false });
  try {
    for await (const entry of zip.eachEntry()) {
      const name = Buffer.from(entry.fileNameRaw).toString('utf8');
      if (entry.isEncrypted()) throw new Error('a member is encrypted');
      if (name.endsWith('/') && entry.uncompressedSize === 0) await found.add(name, 'folder', empty());
      else await found.add(name, 'file', checked(found.counted(await zip.openReadStreamPromise(entry)), entry.crc32));
    }
  } finally {
    zip.close();
  }
  return found.finish('zip', zipLeftOut);
}

/** A loader refuses a member that does not match its checksum, so such an archive is not what its members say. */
async function* checked(content: AsyncIterable<Buffer>, expected: number): AsyncGenerator<Buffer> {
  let found = 0;
  for await (const chunk of content) {
    found = crc32(chunk, found);
    yield chunk;
  }
  if (found !== expected) throw new Error('a member does not match its checksum');
}

async function* empty(): AsyncGenerator<Buffer> {}

async function readTar(file: string, found: Members): Promise<Archive> {
  await addTar(Readable.from(found.counted(createReadStream(file))), found);
  return found.finish('tar', tarLeftOut);
}

/** A compressed tar archive, or one compressed file. */
async function readGzip(file: string, found: Members): Promise<Archive> {
  const unpacked = found.counted(gunzip(file));
  const first = await unpacked.next();
  const head: Buffer = first.done === true ? Buffer.alloc(0) : first.value;
  async function* whole() {
    yield head;
    yield* unpacked;
  }
  if (!isTar(head)) {
    await found.add('content', 'file', whole());
    return found.finish('gzip', gzipLeftOut);
  }
  await addTar(Readable.from(whole()), found);
  return found.finish('tar.gz', `${tarLeftOut}, and ${gzipLeftOut}`);
}

async function* gunzip(file: string): AsyncGenerator<Buffer> {
  const unzip = createGunzip({ chunkSize: 256 * 1024 });
  const feeding = pipeline(createReadStream(file), unzip);
  // It is reported by the reading below.
  feeding.catch(() => undefined);
  yield* unzip as AsyncIterable<Buffer>;
  await feeding;
}

async function addTar(source: Readable, found: Members): Promise<void> {
  const archive = extract();
  const feeding = pipeline(source, archive);
  feeding.catch(() => undefined);
  for await (const entry of archive) {
    const { type, name, linkname, devmajor, devminor } = entry.header;
    const about = JSON.stringify([type, linkname ?? null, devmajor ?? 0, devminor ?? 0]);
    await found.add(name, about, entry as unknown as AsyncIterable<Buffer>);
  }
  await feeding;
}
