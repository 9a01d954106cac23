import { createHash } from 'node:crypto';
import { chmod, mkdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/**
 * A folder for what other accounts have to reach: the database and the stages of a stack that root started. That is the
 * home, unless root's home is closed to them; then it is a folder of this home under /var/lib.
 */
export async function reachableFolder(home: string): Promise<string> {
  if (process.getuid?.() !== 0 || (await isTraversable(home))) return home;
  const folder = join('/var/lib', `assay-${createHash('sha256').update(home).digest('hex').slice(0, 12)}`);
  await mkdir(folder, { recursive: true });
  await chmod(folder, 0o711);
  return folder;
}

/** Whether accounts other than the owner may walk down to `path`: all folders above it and itself let others pass. */
export async function isTraversable(path: string): Promise<boolean> {
  const othersMayPass = 0o001;
  const { mode } = await stat(path);
  if ((mode & othersMayPass) === 0) return false;
  return path === dirname(path) || (await isTraversable(dirname(path)));
}
