import { createHash } from 'node:crypto';
import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { isTraversable } from './account.ts';

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
