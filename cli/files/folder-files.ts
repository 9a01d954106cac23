// The files of a folder that becomes a dataset: relative path, size and sha256 of each.
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { CliError } from '#cli/errors.ts';
import { inParallel } from './parallel.ts';

export interface FolderFile {
  /** Relative to the folder, with forward slashes. */
  path: string;
  sizeBytes: number;
  sha256: string;
}

const readersMax = 4;

/** Sorted by path. Links are followed only to files; links to folders are refused, because they may lead in circles. */
export async function readFolder(dir: string): Promise<FolderFile[]> {
  const paths = (await listFiles(dir)).toSorted();
  if (paths.length === 0) throw new CliError(`${dir} holds no files; a dataset needs at least one.`);
  return inParallel(paths, readersMax, async (path) => ({
    path: relative(dir, path).split(sep).join('/'),
    sizeBytes: (await stat(path)).size,
    sha256: await hashFile(path),
  }));
}

async function listFiles(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { withFileTypes: true });
  const lists = await Promise.all(
    entries.map(async (entry) => {
      const path = join(dir, entry.name);
      if (entry.isDirectory()) return entry.name === '.git' ? [] : listFiles(path);
      if (entry.isFile() || (await stat(path)).isFile()) return [path];
      throw new CliError(`${path} is neither a file nor a folder; a dataset holds files and folders only.`);
    }),
  );
  return lists.flat();
}

export async function hashFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}
