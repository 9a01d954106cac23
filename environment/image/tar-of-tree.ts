import { createReadStream } from 'node:fs';
import { lstat, readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type Header, pack, type Pack } from 'tar-stream';

export interface TarPart {
  /** Name in the archive. */
  name: string;
  /** Absolute path of a file, a folder without what is in it, or a link. */
  path: string;
}

const owner = { uid: 0, gid: 0, uname: '', gname: '' };
const inMemoryBytesMax = 1024 ** 2;

/**
 * A tar of files that belong to root and that nobody may write, whoever owns them here. The stream fails when one of
 * them can not be read.
 *
 * @param folders made first; they have no counterpart here.
 */
export function tarOf(folders: readonly string[], parts: AsyncIterable<TarPart> | Iterable<TarPart>): Readable {
  const archive = pack();
  fill(archive, folders, parts).catch((error: unknown) => archive.destroy(error as Error));
  return Readable.from(archive, { objectMode: false });
}

/** A folder and everything below it, a folder before what is in it. */
export async function* partsOf(folder: string, name: string): AsyncGenerator<TarPart> {
  yield { name, path: folder };
  for (const entry of (await readdir(folder, { withFileTypes: true })).sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const part = { name: `${name}/${entry.name}`, path: join(folder, entry.name) };
    if (entry.isDirectory()) yield* partsOf(part.path, part.name);
    else yield part;
  }
}

async function fill(
  archive: Pack,
  folders: readonly string[],
  parts: AsyncIterable<TarPart> | Iterable<TarPart>,
): Promise<void> {
  for (const name of folders) archive.entry({ ...owner, name, type: 'directory', mode: 0o755, mtime: new Date(0) });
  for await (const part of parts) await add(archive, part);
  archive.finalize();
}

async function add(archive: Pack, { name, path }: TarPart): Promise<void> {
  const found = await lstat(path);
  // Compiled bytecode is valid for the second in which its source was written.
  const header = { ...owner, name, mtime: found.mtime };
  if (found.isDirectory()) {
    archive.entry({ ...header, type: 'directory', mode: 0o755 });
  } else if (found.isSymbolicLink()) {
    archive.entry({ ...header, type: 'symlink', linkname: await readlink(path), mode: 0o777 });
  } else if (found.isFile()) {
    const mode = (found.mode & 0o111) === 0 ? 0o444 : 0o555;
    await addFile(archive, path, { ...header, type: 'file', size: found.size, mode });
  }
}

async function addFile(
  archive: Pack,
  path: string,
  header: Partial<Header> & Pick<Header, 'name' | 'size'>,
): Promise<void> {
  if (header.size > inMemoryBytesMax) {
    await pipeline(createReadStream(path), archive.entry(header) as unknown as NodeJS.WritableStream);
    return;
  }
  const content = await readFile(path);
  await new Promise<void>((resolve, reject) => {
    archive.entry(header, content, (error) => (error ? reject(error) : resolve()));
  });
}

/**
 * Sends a stream in a request. A stream that fails ends the request, which would wait for its rest for ever.
 *
 * @throws what made the stream fail, or what `send` throws.
 */
export async function whileReading<T>(
  stream: Readable,
  signal: AbortSignal | undefined,
  send: (stream: Readable, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  let failure: Error | undefined;
  stream.once('error', (error) => {
    failure = error;
    controller.abort(error);
  });
  const either = signal === undefined ? controller.signal : AbortSignal.any([controller.signal, signal]);
  try {
    return await send(stream, either);
  } catch (error) {
    signal?.throwIfAborted();
    throw failure ?? error;
  } finally {
    stream.destroy();
  }
}
