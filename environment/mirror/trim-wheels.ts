import { readdir, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { wheelsDir } from '#environment/context.ts';
import { removeTree } from '#environment/process/trees.ts';

const wheelsBytesMax = 20 * 1024 ** 3;
/** A wheel that was used so recently may be installed right now. */
const inUseMs = 60 * 60 * 1000;

/** The time of reading says that it is in use; that of writing, by which uv knows a file again, stays. */
export async function touchWheel(path: string): Promise<void> {
  await utimes(path, new Date(), (await stat(path)).mtime);
}

/** Removes the wheels of this machine that were used longest ago, until the rest fits. Each can be brought again. */
export async function trimWheels(cacheDir: string, sizeBytesMax: number = wheelsBytesMax): Promise<void> {
  const root = wheelsDir(cacheDir);
  const folders = (await readdir(root)).filter((name) => /^[0-9a-f]{64}$/.test(name)).map((name) => join(root, name));
  const sizes = await Promise.all(folders.map(sizeOf));
  const known = sizes.flatMap((size, index) => (size === null ? [] : [{ ...size, folder: folders[index] as string }]));
  let sizeBytes = known.reduce((sum, one) => sum + one.sizeBytes, 0);
  for (const one of known.sort((a, b) => a.usedMs - b.usedMs)) {
    if (sizeBytes <= sizeBytesMax || Date.now() - one.usedMs < inUseMs) return;
    await removeTree(one.folder);
    sizeBytes -= one.sizeBytes;
  }
}

/** Null when another process removed it meanwhile. */
async function sizeOf(folder: string): Promise<{ sizeBytes: number; usedMs: number } | null> {
  try {
    const files = await Promise.all((await readdir(folder)).map((name) => stat(join(folder, name))));
    const usedMs = Math.max(0, ...files.map((file) => Math.max(file.atimeMs, file.mtimeMs)));
    return { sizeBytes: files.reduce((sum, file) => sum + file.size, 0), usedMs };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}
