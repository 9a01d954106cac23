import { readFile, realpath, stat } from 'node:fs/promises';
import { dirname, isAbsolute, relative, resolve, sep } from 'node:path';
import { DomainError } from '#core/errors.ts';

/** Undefined when there is no such file. */
export async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

export async function isFile(path: string): Promise<boolean> {
  return (await kindOf(path)) === 'file';
}

export async function isDirectory(path: string): Promise<boolean> {
  return (await kindOf(path)) === 'directory';
}

async function kindOf(path: string): Promise<'file' | 'directory' | 'other' | undefined> {
  try {
    const found = await stat(path);
    if (found.isFile()) return 'file';
    return found.isDirectory() ? 'directory' : 'other';
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

/**
 * The path of `name`, written in the file `from`, relative to the root of the tree and with forward slashes.
 * Symbolic links are followed before the check.
 *
 * @throws DomainError environment-unsupported when it lies outside of the tree.
 */
export async function pathInTree(root: string, from: string, name: string): Promise<string> {
  const asked = isAbsolute(name) ? name : resolve(root, dirname(from), name);
  const real = await realpath(asked).catch((error: unknown) => {
    if (isAbsent(error)) return asked;
    throw error;
  });
  const inside = [relative(root, asked), relative(await realpath(root), real)];
  if (isAbsolute(name) || inside.some(leavesTree)) {
    throw new DomainError(
      'environment-unsupported',
      `${from} names ${name}, which is outside of the repository. An environment is built from committed files only: move it into the repository, or ask for it by name and version.`,
      [{ path: name, message: 'outside of the repository', file: from }],
    );
  }
  return (inside[0] ?? '').split(sep).join('/') || '.';
}

function leavesTree(path: string): boolean {
  return path === '..' || path.startsWith(`..${sep}`) || isAbsolute(path);
}

function isAbsent(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '');
}
