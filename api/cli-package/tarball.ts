// A .tgz as npm reads it, equal to the last bit whenever its files are equal.
import { buffer } from 'node:stream/consumers';
import { createGzip } from 'node:zlib';
import { pack } from 'tar-stream';

export interface PackedFile {
  /** Below the package's root. */
  path: string;
  text: string;
  isProgram?: boolean;
}

/** The date of every file, which npm ignores: the one that npm itself writes. */
const mtime = new Date('1985-10-26T08:15:00Z');

export async function packTarball(files: readonly PackedFile[]): Promise<Buffer> {
  const tar = pack();
  const bytes = buffer(tar.pipe(createGzip({ level: 9 })));
  for (const { path, text, isProgram } of files.toSorted((a, b) => (a.path < b.path ? -1 : 1))) {
    tar.entry({ name: `package/${path}`, mode: isProgram === true ? 0o755 : 0o644, mtime }, text);
  }
  tar.finalize();
  return bytes;
}
