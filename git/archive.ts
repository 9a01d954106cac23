import { once } from 'node:events';
import { PassThrough, type Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { pack as createPack, type Pack } from 'tar-stream';
import type { GitOptions } from './command.ts';
import { type BatchObject, collect, readObjects } from './objects.ts';
import type { TreeEntry } from './tree.ts';

const inMemoryBytesMax = 1024 ** 2;
const epoch = new Date(0);

function header(entry: TreeEntry) {
  const mode = entry.mode === '100755' ? 0o755 : 0o644;
  return { name: entry.path, mode, mtime: epoch, uid: 0, gid: 0, uname: '', gname: '' };
}

async function addWhole(pack: Pack, entry: TreeEntry, content: Buffer): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const done = (error?: Error | null) => (error ? reject(error) : resolve());
  if (entry.mode === '120000') {
    pack.entry({ ...header(entry), type: 'symlink', mode: 0o777, linkname: content.toString('utf8') }, done);
  } else pack.entry({ ...header(entry), type: 'file', size: content.length }, content, done);
  await promise;
}

async function addStreaming(pack: Pack, entry: TreeEntry, object: BatchObject): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const sink = pack.entry({ ...header(entry), type: 'file', size: object.sizeBytes }, (error) =>
    error ? reject(error) : resolve(),
  );
  for await (const piece of object.content) {
    if (!sink.write(piece)) await Promise.race([once(sink, 'drain'), promise]);
  }
  sink.end(null);
  await promise;
}

async function fill(pack: Pack, entries: readonly TreeEntry[], options: GitOptions): Promise<void> {
  let at = 0;
  const names = entries.map((entry) => entry.oid);
  for await (const object of readObjects(names, options)) {
    const entry = entries[at] as TreeEntry;
    at += 1;
    if (object.sizeBytes <= inMemoryBytesMax) await addWhole(pack, entry, await collect(object));
    else await addStreaming(pack, entry, object);
  }
  pack.finalize();
}

/**
 * A tar of exactly these files: contents byte for byte as committed, no attribute or filter applied, sorted, all times
 * zero, no owner. Equal trees give equal bytes.
 */
export function archiveTree(entries: readonly TreeEntry[], options: GitOptions): Readable {
  const pack = createPack();
  const out = new PassThrough();
  const stopped = new AbortController();
  const signal = options.signal === undefined ? stopped.signal : AbortSignal.any([options.signal, stopped.signal]);
  out.once('close', () => stopped.abort(new Error('the reader of the archive closed it')));
  fill(pack, entries, { ...options, signal }).catch((error: Error) => out.destroy(error));
  pipeline(pack as unknown as Readable, out).catch((error: Error) => out.destroy(error));
  return out;
}
