// One look at a stage's checkpoint directory, by somebody with more rights than the stage: no link is followed.
import { lstat, readdir, realpath } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { mapLimited } from '#lake/map-limited.ts';

export interface SeenFile {
  /** Below the directory. */
  path: string;
  /** Changes whenever the file may have changed, and stays when it is renamed: size, modification time, inode. */
  stamp: string;
  /** Device and inode. */
  identity: string;
  owner: number;
  sizeBytes: number;
  modifiedAtMs: number;
  executable: boolean;
}

export interface Look {
  files: SeenFile[];
  /** What is there and is not kept. */
  notes: string[];
}

/** More files than this are a mistake of the script. */
const filesMax = 100_000;
const lookedAtOnce = 16;

/** `folder` is the worker's own; everything between it and `directory` may be the stage's making. */
export async function lookAt(folder: string, directory: string): Promise<Look> {
  const notes: string[] = [];
  try {
    if (!(await isWhereItBelongs(folder, directory))) {
      return { files: [], notes: ['The stage put something else in the place of its checkpoint directory.'] };
    }
    const found = await walk(directory, filesMax + 1);
    if (found.links > 0) notes.push('Links in the checkpoint directory are not kept.');
    if (found.paths.length > filesMax) {
      return { files: [], notes: [`More than ${filesMax} checkpoint files were written; none are kept.`] };
    }
    const files = await mapLimited(found.paths, lookedAtOnce, (path) => look(directory, path));
    return { files: files.filter((file) => file !== null), notes };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EACCES' || code === 'EPERM') {
      return { files: [], notes: [`The checkpoint directory can not be read (${code}).`] };
    }
    // The stage removes and renames as it likes; the next look sees what came of it.
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ELOOP') return { files: [], notes };
    throw error;
  }
}

async function isWhereItBelongs(folder: string, directory: string): Promise<boolean> {
  const wanted = join(await realpath(folder), relative(folder, directory));
  return (await realpath(directory)) === wanted && (await lstat(directory)).isDirectory();
}

async function walk(directory: string, pathsMax: number): Promise<{ paths: string[]; links: number }> {
  const paths: string[] = [];
  let links = 0;
  const folders = [''];
  for (let folder = folders.pop(); folder !== undefined && paths.length < pathsMax; folder = folders.pop()) {
    for (const entry of await readdir(join(directory, folder), { withFileTypes: true })) {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) folders.push(path);
      else if (entry.isFile()) paths.push(path);
      else if (entry.isSymbolicLink()) links += 1;
    }
  }
  return { paths, links };
}

/** Null for what is gone, and for names that are not UTF-8: they read as another name, under which there is nothing. */
async function look(directory: string, path: string): Promise<SeenFile | null> {
  try {
    const found = await lstat(join(directory, path), { bigint: true });
    return found.isFile() ? seenFile(path, found) : null;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

type Stats = Record<'size' | 'mtimeNs' | 'mtimeMs' | 'ino' | 'dev' | 'uid' | 'mode', bigint>;

function seenFile(path: string, { size, mtimeNs, mtimeMs, ino, dev, uid, mode }: Stats): SeenFile {
  return {
    path,
    stamp: stampOf({ size, mtimeNs, ino }),
    identity: `${dev}.${ino}`,
    owner: Number(uid),
    sizeBytes: Number(size),
    modifiedAtMs: Number(mtimeMs),
    executable: (mode & 0o111n) !== 0n,
  };
}

export function stampOf({ size, mtimeNs, ino }: Pick<Stats, 'size' | 'mtimeNs' | 'ino'>): string {
  return `${size}.${mtimeNs}.${ino}`;
}
