// Reads many objects through one `git cat-file --batch`.
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Readable as NodeReadable } from 'node:stream';
import { type GitOptions, type GitProcess, startGit } from './command.ts';

export interface BatchObject {
  /** What was asked for. */
  asked: string;
  type: string;
  oid: string;
  sizeBytes: number;
  /** The content in pieces. It must be read to its end before the next object is asked for. */
  content: AsyncGenerator<Buffer>;
}

/** Cuts a byte stream into lines and pieces of known length. */
function createByteReader(stream: Readable) {
  const chunks = stream[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  let rest: Buffer = Buffer.alloc(0);
  const more = async (): Promise<void> => {
    const next = await chunks.next();
    if (next.done === true) throw new Error('git cat-file ended in the middle of an object');
    rest = rest.length === 0 ? next.value : Buffer.concat([rest, next.value]);
  };
  const line = async (): Promise<string> => {
    let end = rest.indexOf(10);
    while (end < 0) {
      await more();
      end = rest.indexOf(10);
    }
    const text = rest.toString('utf8', 0, end);
    rest = rest.subarray(end + 1);
    return text;
  };
  async function* bytes(sizeBytes: number): AsyncGenerator<Buffer> {
    let left = sizeBytes;
    while (left > 0) {
      if (rest.length === 0) await more();
      const piece = rest.subarray(0, left);
      rest = rest.subarray(piece.length);
      left -= piece.length;
      yield piece;
    }
  }
  return { line, bytes };
}

async function* answers(git: GitProcess, asked: Iterable<string>): AsyncGenerator<BatchObject> {
  const reader = createByteReader(git.stdout);
  for (const name of asked) {
    const header = (await reader.line()).split(' ');
    const [oid = '', type = '', size = ''] = header;
    if (header.length !== 3 || !/^\d+$/.test(size)) throw new Error(`git has no object ${name}: ${header.join(' ')}`);
    const sizeBytes = Number(size);
    yield { asked: name, oid, type, sizeBytes, content: reader.bytes(sizeBytes) };
    for await (const _ of reader.bytes(1)) void _;
  }
}

/** The objects in the order asked. Names must be hashes; a missing one is an error, because the mirror is complete. */
export async function* readObjects(names: readonly string[], options: GitOptions): AsyncGenerator<BatchObject> {
  const git = startGit(['cat-file', '--batch', '--buffer'], options);
  const failed = git.done.then(
    () => null,
    (error: Error) => error,
  );
  const written = pipeline(NodeReadable.from(names.map((name) => `${name}\n`)), git.stdin).catch(() => undefined);
  let finished = false;
  try {
    yield* answers(git, names);
    finished = true;
  } catch (error) {
    git.stop(error as Error);
    throw (await failed) ?? error;
  } finally {
    if (!finished) git.stop(new Error('the reader stopped early'));
    git.stdout.resume();
    await written;
    await failed;
  }
}

/** A whole object in memory; `sizeBytesMax` is the caller's promise that it is small. */
export async function collect(object: BatchObject): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of object.content) pieces.push(piece);
  return pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces);
}
