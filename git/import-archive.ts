// Turns a source archive back into a commit, so that git can compare it.
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { extract as createExtract, type Header } from 'tar-stream';
import { type GitOptions, runGit, startGit } from './command.ts';

const ref = 'refs/heads/archive';

/**
 * Answers the commit. Contents go straight from the archive to `git fast-import`: nothing is unpacked, and no attribute
 * of the tree is applied.
 */
export async function importArchive(archive: Readable, options: GitOptions): Promise<string> {
  const git = startGit(['fast-import', '--quiet', '--force', '--date-format=raw'], options);
  const failed = git.done.then(
    () => null,
    (error: Error) => error,
  );
  git.stdout.resume();
  try {
    await feed(archive, git.stdin);
  } catch (error) {
    git.stop(error as Error);
  }
  const error = await failed;
  if (error !== null) throw error;
  return (await runGit(['for-each-ref', '--format=%(objectname)', ref], options)).toString('latin1').trim();
}

async function feed(archive: Readable, sink: Writable): Promise<void> {
  const entries = createExtract();
  archive.once('error', (error) => entries.destroy(error));
  archive.pipe(entries);
  const files: string[] = [];
  for await (const entry of entries) {
    const { header } = entry;
    if (header.type === 'symlink') await blob(sink, files, '120000', header, [Buffer.from(header.linkname ?? '')]);
    else if (header.type === 'file') {
      const mode = ((header.mode ?? 0) & 0o111) === 0 ? '100644' : '100755';
      await blob(sink, files, mode, header, entry as AsyncIterable<Buffer>);
    }
    entry.resume();
  }
  await write(sink, `commit ${ref}\ncommitter archive <> 0 +0000\ndata 0\n${files.join('')}\ndone\n`);
  sink.end();
}

async function blob(
  sink: Writable,
  files: string[],
  mode: string,
  header: Header,
  content: Iterable<Buffer> | AsyncIterable<Buffer>,
): Promise<void> {
  const mark = files.length + 1;
  const sizeBytes = header.type === 'symlink' ? Buffer.byteLength(header.linkname ?? '') : (header.size ?? 0);
  await write(sink, `blob\nmark :${mark}\ndata ${sizeBytes}\n`);
  for await (const piece of content) await write(sink, piece);
  await write(sink, '\n');
  files.push(`M ${mode} :${mark} ${quoted(header.name)}\n`);
}

async function write(sink: Writable, piece: string | Buffer): Promise<void> {
  if (!sink.write(piece)) await once(sink, 'drain');
}

/** As git-fast-import(1) reads paths. */
function quoted(path: string): string {
  return `"${path.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`;
}
