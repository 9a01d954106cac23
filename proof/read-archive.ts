// Reads an archive from beginning to end without unpacking it, and compares every byte that belongs to no file with what
// export writes there. Names are never opened; files are hashed as they pass.
import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { inBundleOrder, type BundledFile } from './bundle-files.ts';
import {
  blockBytes,
  decodeHeader,
  encodeHeader,
  endBytes,
  headerBytesMax,
  isEmptyBlock,
  isLongHeader,
  paddingOf,
  type TarFile,
  type TarHeader,
} from './tar-format.ts';

export interface ArchiveReader {
  /** The file that has to follow, taken to be there when its header can not be read; null when nobody knows. */
  expectedNext: (path: string | null) => TarFile | null;
  /** Whether the whole of a file is wanted, and not only its digest. */
  wants: (path: string, sizeBytes: number) => boolean;
  /** Called for each file in turn. */
  onFile: (file: BundledFile, bytes: Buffer | null) => void;
  /** One line about something that is wrong. */
  onProblem: (problem: string) => void;
}

const chunkBytes = 1024 * 1024;
/** A damaged archive is not followed for ever. */
const filesMax = 2_000_000;

export async function readArchive(handle: FileHandle, reader: ArchiveReader): Promise<void> {
  const { size } = await handle.stat();
  let before: string | null = null;
  let at = 0;
  for (let count = 0; ; count += 1) {
    const bytes = await readHeader(handle, at, size);
    const isEnd = bytes.length >= blockBytes && isEmptyBlock(bytes.subarray(0, blockBytes));
    if (isEnd || bytes.length === 0 || count === filesMax) return checkEnd(bytes, { at, size, before, count, reader });
    const header = headerAt(bytes, { at, before, reader });
    if (header === null) return;
    at = await readFile(handle, { header, at: at + header.headerBytes, size, reader });
    if (at > size) return;
    before = header.path;
  }
}

async function readHeader(handle: FileHandle, at: number, size: number): Promise<Buffer> {
  const bytes = await readAt(handle, at, Math.min(endBytes, size - at));
  return isLongHeader(bytes) ? await readAt(handle, at, Math.min(headerBytesMax, size - at)) : bytes;
}

interface Place {
  at: number;
  before: string | null;
  reader: ArchiveReader;
}

/** What stands at the place, or what has to; null when nobody can tell where it ends. */
function headerAt(bytes: Buffer, { at, before, reader }: Place): TarHeader | null {
  const header = decodeHeader(bytes);
  if (header !== null) {
    const wanted = encodeHeader(header);
    if (header.otherKind === null && !wanted.equals(bytes.subarray(0, header.headerBytes))) {
      reader.onProblem(
        `byte ${differsAt(wanted, bytes, at)}: the header of ${quoted(header.path)} is not as it was written`,
      );
    }
    return header;
  }
  const next = reader.expectedNext(before);
  if (next === null) {
    const after = before === null ? 'the file begins' : `after ${quoted(before)} comes`;
    reader.onProblem(`byte ${at}: ${after} with no header of a tar archive, so nothing from there on was read`);
    return null;
  }
  const wanted = encodeHeader(next);
  reader.onProblem(`byte ${differsAt(wanted, bytes, at)}: the header of ${quoted(next.path)} is not as it was written`);
  return { ...next, headerBytes: wanted.length, otherKind: null };
}

/** Answers where the next header begins; behind the end of the archive when it is cut. */
async function readFile(
  handle: FileHandle,
  { header, at, size, reader }: { header: TarHeader; at: number; size: number; reader: ArchiveReader },
): Promise<number> {
  const { path, sizeBytes, otherKind } = header;
  const end = at + sizeBytes;
  const next = end + paddingOf(sizeBytes);
  if (otherKind !== null) {
    reader.onProblem(`${quoted(path)} is ${otherKind}; a bundle holds files alone`);
    return next;
  }
  if (end > size) {
    reader.onProblem(`the archive ends at byte ${size}, inside ${quoted(path)}, which needs ${end - size} bytes more`);
    return size + 1;
  }
  const hash = createHash('sha256');
  const kept: Buffer[] | null = reader.wants(path, sizeBytes) ? [] : null;
  for (let from = at; from < end; from += chunkBytes) {
    const chunk = await readAt(handle, from, Math.min(chunkBytes, end - from));
    hash.update(chunk);
    kept?.push(chunk);
  }
  const padding = await readAt(handle, end, Math.min(next - end, size - end));
  if (!isEmptyBlock(padding)) {
    reader.onProblem(
      `byte ${end + padding.findIndex((byte) => byte !== 0)}: the filling after ${quoted(path)} is not empty`,
    );
  }
  reader.onFile({ path, sizeBytes, sha256: hash.digest('hex') }, kept === null ? null : Buffer.concat(kept));
  return next;
}

function checkEnd(bytes: Buffer, { at, size, before, count, reader }: Place & { size: number; count: number }): void {
  const missing = at + endBytes - size;
  if (count === filesMax)
    reader.onProblem(`more than ${filesMax} files; nothing after ${quoted(before ?? '')} was read`);
  else if (missing > 0) reader.onProblem(`the archive ends at byte ${size}; its own end needs ${missing} bytes more`);
  else if (missing < 0) reader.onProblem(`byte ${at + endBytes}: ${-missing} bytes follow the end of the archive`);
  const end = bytes.subarray(0, endBytes);
  if (!isEmptyBlock(end))
    reader.onProblem(`byte ${at + end.findIndex((byte) => byte !== 0)}: the archive's end is not empty`);
}

function differsAt(wanted: Buffer, found: Buffer, at: number): number {
  return (
    at +
    Math.max(
      0,
      wanted.findIndex((byte, index) => byte !== found[index]),
    )
  );
}

async function readAt(handle: FileHandle, position: number, length: number): Promise<Buffer> {
  const bytes = Buffer.alloc(Math.max(0, length));
  let filled = 0;
  while (filled < bytes.length) {
    const { bytesRead } = await handle.read(bytes, filled, bytes.length - filled, position + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return bytes.subarray(0, filled);
}

/** Names come from the archive: nothing in them may act on a terminal or look like another line. */
export function quoted(path: string): string {
  return JSON.stringify(path.length > 200 ? `${path.slice(0, 200)}…` : path);
}

/** Which file follows which in a bundle that begins with these. */
export function nextInBundle(
  first: readonly TarFile[],
  files: readonly TarFile[],
): (path: string | null) => TarFile | null {
  const order = [...first, ...inBundleOrder(files)];
  const places = new Map(order.map(({ path }, index) => [path, index]));
  return (path) => order[path === null ? 0 : (places.get(path) ?? order.length) + 1] ?? null;
}
